//! TLS to NATS: the certificates that the server's is verified against, and the client's own one.

use std::{io, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::env::Env;

/// Reads `NATS_CA`, `NATS_CERT` and `NATS_KEY`. `None` if none is set or one is faulty.
pub fn from_env(env: &mut Env<'_>) -> Option<Arc<ClientConfig>> {
    let [ca, cert, key] = ["NATS_CA", "NATS_CERT", "NATS_KEY"].map(|name| env.pem(name));
    let client = match (cert, key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => {
            env.fault("set both NATS_CERT and NATS_KEY, or none of them");
            return None;
        }
    };
    if ca.is_none() && client.is_none() {
        return None;
    }
    match build(ca.as_ref(), client.as_ref()) {
        Ok(config) => Some(Arc::new(config)),
        Err(error) => {
            env.fault(format!("NATS_CA, NATS_CERT or NATS_KEY is not valid: {error}"));
            None
        }
    }
}

/// The machine's root certificates and no client certificate.
pub fn default() -> io::Result<Arc<ClientConfig>> {
    build(None, None).map(Arc::new)
}

fn build(
    ca: Option<&SecretString>,
    client: Option<&(SecretString, SecretString)>,
) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let Some((cert, key)) = client else { return Ok(config.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes());
    let key = key.map_err(io::Error::other)?;
    config.with_client_auth_cert(certificates(cert)?, key).map_err(io::Error::other)
}

fn certificates(pem: &SecretString) -> io::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.expose_secret().as_bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(io::Error::other("no certificate in it"))
        }
        read => read.map_err(io::Error::other),
    }
}

//! Generated passwords and keys. Each is a file in the data folder that only its owner may read.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use pem::{EncodeConfig, LineEnding, Pem};

const PASSWORD_BYTES: usize = 24;

/// A folder of secrets.
pub struct Secrets(PathBuf);

impl Secrets {
    /// Opens the folder and creates it if necessary.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }

    /// The password of this name, generated at the first call. It begins with a letter, because nats-server would parse
    /// a value that begins with a digit as a number.
    pub fn password(&self, name: &str) -> anyhow::Result<String> {
        self.read_or_create(name, || {
            Ok(format!("p{}", hex::encode(rand::random::<[u8; PASSWORD_BYTES]>())))
        })
    }

    /// The private key for access tokens, generated at the first call.
    pub fn signing_key(&self) -> anyhow::Result<String> {
        self.read_or_create("signing-key.pem", generate_key)
    }

    fn read_or_create(
        &self,
        name: &str,
        generate: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(secret) => Ok(secret),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secret = generate()?;
                write_private(&path, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// A new Ed25519 private key as PKCS#8 in PEM (RFC 8410).
pub fn generate_key() -> anyhow::Result<String> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("the system's random number generator failed"))?;
    Ok(encode("PRIVATE KEY", document.as_ref()))
}

/// The public key of a key of [`generate_key`], in PEM.
pub fn public_key(private_key: &str) -> anyhow::Result<String> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pem::parse(private_key)?.contents())
        .map_err(|error| anyhow::anyhow!("not an Ed25519 private key: {error}"))?;
    let der: PublicKeyX509Der<'_> = pair
        .public_key()
        .as_der()
        .map_err(|_| anyhow::anyhow!("the public key cannot be encoded"))?;
    Ok(encode("PUBLIC KEY", der.as_ref()))
}

fn encode(tag: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// Writes a file atomically, readable only by its owner.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

//! Passwords and keys of one machine: made once, kept in the data folder for its owner alone.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// A folder of secrets.
pub struct Secrets(PathBuf);

impl Secrets {
    /// Opens the folder, making it if it is not there.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }

    /// The secret of a name, made at the first call. A letter, then hexadecimal digits: NATS reads
    /// passwords from the environment as if they stood in its configuration.
    pub fn password(&self, name: &str) -> anyhow::Result<String> {
        self.get(name, || {
            let bytes: [u8; 24] = rand::random();
            Ok(format!("p{}", bytes.map(|byte| format!("{byte:02x}")).concat()))
        })
    }

    /// The signing key: Ed25519, PKCS#8, PEM (RFC 8410).
    pub fn signing_key(&self) -> anyhow::Result<String> {
        self.get("signing-key.pem", generate_key)
    }

    /// Where a secret is kept.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn get(
        &self,
        name: &str,
        make: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(secret) => return Ok(secret),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        let secret = make()?;
        write_private(&path, &secret)?;
        Ok(secret)
    }
}

/// A new signing key.
pub fn generate_key() -> anyhow::Result<String> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let body = BASE64_STANDARD.encode(document.as_ref());
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"))
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        let new = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

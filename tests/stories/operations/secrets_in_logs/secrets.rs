//! The secrets and texts of a run, and the search for them in a log.

use std::collections::BTreeMap;

use serde_json::Value;
use stories::System;

/// Text that no log line may contain, whatever the secrets of the run are: the beginning of a JWT, the
/// end of a signed URL or request, a header, a cookie, a key.
const SHAPES: [&str; 5] = ["eyJ", "Signature=", "Bearer ", "refreshToken=", "PRIVATE KEY"];

/// Text that must not be logged, with a description of it.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, &'static str>);

impl Secrets {
    /// Remembers a secret and returns it.
    pub fn keep(&mut self, what: &'static str, secret: &str) -> String {
        assert!(secret.len() >= 8, "{what} is too short, it could be found by chance: {secret}");
        self.0.insert(secret.to_owned(), what);
        secret.to_owned()
    }

    /// Remembers and returns the access token and the refresh token of an answer.
    pub fn keep_tokens(&mut self, answer: &Value) -> (String, String) {
        let [access, refresh] =
            ["accessToken", "refreshToken"].map(|name| answer[name].as_str().unwrap());
        (self.keep("an access token", access), self.keep("a refresh token", refresh))
    }

    /// Remembers the signature of a presigned URL; returns the URL.
    pub fn keep_signature(&mut self, url: &Value) -> String {
        let url = url.as_str().unwrap();
        let (_, signature) = url.split_once("X-Amz-Signature=").unwrap();
        self.keep("a presigned signature", signature.split('&').next().unwrap());
        url.to_owned()
    }

    /// Remembers the secrets in the environment of the processes.
    pub fn keep_environment(&mut self, system: &System) {
        for (name, value) in system.variables() {
            if name.ends_with("_PASSWORD") || name == "AWS_SECRET_ACCESS_KEY" {
                self.keep("a password of ours", value);
            }
            if name == "SIGNING_KEY" {
                let lines = value.lines().filter(|line| !line.starts_with('-'));
                lines.for_each(|line| drop(self.keep("the signing key", line)));
            }
        }
    }

    /// The lines of a log that contain a secret, each with the secret and its description.
    pub fn leaks(&self, name: &str, log: &str) -> Vec<String> {
        let shapes = SHAPES.iter().map(|shape| (*shape, "of this shape"));
        let words = self.0.iter().map(|(secret, what)| (secret.as_str(), *what));
        let words: Vec<(&str, &str)> = words.chain(shapes).collect();
        let lines = log.lines().flat_map(|line| words.iter().map(move |word| (line, word)));
        let leaks = lines.filter(|(line, (word, _))| line.contains(word));
        leaks.map(|(line, (word, what))| format!("{name}: {what}, {word}, in {line}")).collect()
    }
}

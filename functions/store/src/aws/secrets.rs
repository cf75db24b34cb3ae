//! Secrets from AWS Secrets Manager: the variable `NAME_ARN` in place of `NAME` names a secret.

use std::{collections::HashMap, fmt::Display};

use anyhow::Context as _;
use aws_sdk_secretsmanager::{Client, error::DisplayErrorContext};
use futures_util::future::try_join_all;
use serde_json::Value;
use service::env::{Env, Faults};

use super::{http_client, sdk_config};
use crate::config::AwsConfig;

/// The suffix of a variable that names a secret.
const SUFFIX: &str = "_ARN";

/// The variables of the process, with the values of secrets in place of their names.
pub struct Environment {
    /// From the name of a variable without [`SUFFIX`] to the secret's value.
    secrets: HashMap<String, String>,
}

/// `arn:partition:secretsmanager:region:account:secret:name`, optionally with `:key:stage:version` appended, which
/// selects a field of a secret that is a JSON object (the form that ECS uses).
#[derive(Debug, PartialEq, Eq)]
struct SecretName {
    arn: String,
    region: String,
    field: Option<String>,
    stage: Option<String>,
    version: Option<String>,
}

impl SecretName {
    /// `None` if the text is not the ARN of a secret.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let ["arn", _, "secretsmanager", region, _, "secret", _, ..] = parts[..] else {
            return None;
        };
        let optional =
            |n: usize| parts.get(n).filter(|part| !part.is_empty()).map(|part| (*part).to_owned());
        Some(Self {
            arn: parts[..7].join(":"),
            region: region.to_owned(),
            field: optional(7),
            stage: optional(8),
            version: optional(9),
        })
    }
}

impl Environment {
    /// Reads all secrets that variables of the process name, side by side. Without such a variable, nothing is sent.
    pub async fn load() -> anyhow::Result<Self> {
        let mut names = Vec::new();
        for (variable, value) in std::env::vars() {
            let Some(variable) = variable.strip_suffix(SUFFIX) else { continue };
            // Variables of other software may hold ARNs of other services.
            let Some(secret) = SecretName::parse(&value) else { continue };
            for other in [variable.to_owned(), format!("{variable}_FILE")] {
                let is_set = std::env::var_os(&other).is_some();
                anyhow::ensure!(
                    !is_set,
                    "{other} and {variable}{SUFFIX} are both set: set one of them"
                );
            }
            names.push((variable.to_owned(), secret));
        }
        if names.is_empty() {
            return Ok(Self { secrets: HashMap::new() });
        }
        let config = Env::of_process(|env| Some(AwsConfig::from_env(env)))?;
        let http = http_client(&config, true)?;
        let config = sdk_config(&config, http).await;
        let read = names.into_iter().map(async |(variable, secret)| {
            let value = read(&config, &secret).await;
            let value =
                value.with_context(|| format!("cannot read the secret of {variable}{SUFFIX}"))?;
            anyhow::Ok((variable, value))
        });
        Ok(Self { secrets: try_join_all(read).await?.into_iter().collect() })
    }

    /// Reads a configuration. See [`Env::of_process`].
    pub fn read<T>(&self, read: impl FnOnce(&mut Env<'_>) -> Option<T>) -> Result<T, Faults> {
        Env::read(|name| self.secrets.get(name).cloned().or_else(|| std::env::var(name).ok()), read)
    }
}

async fn read(config: &aws_config::SdkConfig, secret: &SecretName) -> anyhow::Result<String> {
    let region = aws_config::Region::new(secret.region.clone());
    let config = aws_sdk_secretsmanager::config::Builder::from(config).region(region).build();
    let answer = Client::from_conf(config)
        .get_secret_value()
        .secret_id(&secret.arn)
        .set_version_stage(secret.stage.clone())
        .set_version_id(secret.version.clone())
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(&error)))?;
    let text = answer.secret_string().context("it is binary, and not text")?;
    match &secret.field {
        Some(field) => field_of(text, field),
        None => Ok(text.to_owned()),
    }
}

/// A field of a JSON object. Errors contain no part of the text.
fn field_of(text: &str, field: &str) -> anyhow::Result<String> {
    let no_field = |detail: &dyn Display| anyhow::anyhow!("its field {field}: {detail}");
    let object: Value =
        serde_json::from_str(text).map_err(|_| no_field(&"the secret is not JSON"))?;
    match object.get(field) {
        Some(Value::String(value)) => Ok(value.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(no_field(&"it is neither a text nor a number")),
        None => Err(no_field(&"there is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_parsed_and_other_arns_ignored() {
        let plain = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:chat/key-AbCdEf";
        let parsed = |text: &str| SecretName::parse(text);
        let name = parsed(plain).unwrap();
        assert_eq!((name.arn.as_str(), name.region.as_str()), (plain, "eu-north-1"));
        assert_eq!((name.field, name.stage, name.version), (None, None, None));
        let name = parsed(&format!("{plain}:password::v2")).unwrap();
        assert_eq!(name.arn, plain);
        assert_eq!(name.field.as_deref(), Some("password"));
        assert_eq!((name.stage, name.version.as_deref()), (None, Some("v2")));
        for other in ["", "a:b", "arn:aws:s3:::bucket", "arn:aws:sns:eu-north-1:123456789012:topic"]
        {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn a_field_is_selected_and_errors_do_not_show_the_secret() {
        let text = r#"{ "password": "hunter2", "port": 5432, "nested": {} }"#;
        assert_eq!(field_of(text, "password").unwrap(), "hunter2");
        assert_eq!(field_of(text, "port").unwrap(), "5432");
        for (text, field) in [(text, "nested"), (text, "user"), ("hunter2", "password")] {
            let error = format!("{:#}", field_of(text, field).unwrap_err());
            assert!(!error.contains("hunter2") && error.contains(field), "{error}");
        }
    }
}

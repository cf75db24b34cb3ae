//! Configuration from environment variables, read once at start. All faults are reported in one message.

mod names;
mod urls;

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use secrecy::{ExposeSecret as _, SecretString};

pub use self::names::{UnknownVariable, unknown_variables};

/// Faults of the environment, one line each.
#[derive(Debug, thiserror::Error)]
#[error("the environment is not valid:\n  - {}", .0.join("\n  - "))]
pub struct Faults(Vec<String>);

impl IntoIterator for Faults {
    type Item = String;
    type IntoIter = std::vec::IntoIter<String>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

type Lookup<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// Reads variables and collects faults.
pub struct Env<'a> {
    lookup: Lookup<'a>,
    faults: Vec<String>,
}

impl Env<'_> {
    /// Reads a configuration from the process's environment. `read` returns `None` if a required variable is
    /// faulty. It should read on after a fault, so that all are found.
    pub fn of_process<T>(read: impl FnOnce(&mut Env<'_>) -> Option<T>) -> Result<T, Faults> {
        Self::read(
            |name| std::env::var(name).ok(),
            |env| {
                names::not_utf8().for_each(|name| env.fault(format!("{name} is not UTF-8")));
                read(env)
            },
        )
    }

    /// The same from another source of variables.
    pub fn read<T>(
        lookup: impl Fn(&str) -> Option<String>,
        read: impl FnOnce(&mut Env<'_>) -> Option<T>,
    ) -> Result<T, Faults> {
        let mut env = Env { lookup: Box::new(lookup), faults: Vec::new() };
        let value = read(&mut env);
        match value {
            Some(value) if env.faults.is_empty() => Ok(value),
            _ => Err(Faults(env.faults)),
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// Records a fault found by the caller, such as two variables that exclude each other. Several parts of one process
    /// may read the same variable and find the same fault.
    pub fn fault(&mut self, fault: impl Into<String>) {
        let fault = fault.into();
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// A required variable. `hint` describes it to an operator who did not set it.
    pub fn required<T: FromStr<Err: Display>>(&mut self, name: &str, hint: &str) -> Option<T> {
        let Some(text) = self.get(name) else {
            self.fault(format!("{name} is not set: {hint}"));
            return None;
        };
        self.parse(name, &text)
    }

    /// An optional variable. `None` if it is not set or faulty.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.get(name)?;
        self.parse(name, &text)
    }

    /// A variable with a default.
    pub fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// A limit with a default. 0 switches it off: then it is [`usize::MAX`].
    pub fn limit(&mut self, name: &str, default: usize) -> usize {
        match self.or(name, default) {
            0 => usize::MAX,
            limit => limit,
        }
    }

    /// A variable with a default and bounds.
    pub fn within<T: FromStr<Err: Display> + PartialOrd + Display>(
        &mut self,
        name: &str,
        bounds: RangeInclusive<T>,
        default: T,
    ) -> T {
        self.optional_within(name, bounds).unwrap_or(default)
    }

    /// An optional variable with bounds. `None` if it is not set or faulty.
    pub fn optional_within<T: FromStr<Err: Display> + PartialOrd + Display>(
        &mut self,
        name: &str,
        bounds: RangeInclusive<T>,
    ) -> Option<T> {
        let value: T = self.optional(name)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        self.fault(format!("{name} must be {} to {}", bounds.start(), bounds.end()));
        None
    }

    /// One of several words; the first one is the default.
    pub fn choice(&mut self, name: &str, words: &[&'static str]) -> &'static str {
        let default = words.first().copied().unwrap_or_default();
        let Some(text) = self.get(name) else { return default };
        words.iter().find(|word| **word == text.trim()).copied().unwrap_or_else(|| {
            self.fault(format!("{name} must be {}", words.join(" or ")));
            default
        })
    }

    /// Certificates, keys or credentials with lines of dashes, as in PEM: the text itself or the path of a file.
    pub fn pem(&mut self, name: &str) -> Option<SecretString> {
        let given = self.secret(name)?;
        if given.expose_secret().trim_start().starts_with("-----BEGIN ") {
            return Some(given);
        }
        let path = given.expose_secret().trim();
        let text = match std::fs::read_to_string(path) {
            Ok(text) if text.contains("-----BEGIN ") => return Some(text.into()),
            Ok(_) => format!("{name}: {path} holds no PEM"),
            // The message omits the value if it is not a path: it may be a secret.
            Err(error) if path.starts_with(['/', '.']) => {
                format!("{name}: cannot read {path}: {error}")
            }
            Err(_) => format!("{name} is neither PEM nor the path of a file that can be read"),
        };
        self.fault(text);
        None
    }

    /// A secret, from `NAME` or from the file that `NAME_FILE` names.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        let file_variable = format!("{name}_FILE");
        let text = match (self.get(name), self.get(&file_variable)) {
            (Some(_), Some(_)) => {
                self.fault(format!("{name} and {file_variable} are both set: set one of them"));
                None
            }
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.fault(format!("{file_variable}: cannot read {path}: {error}"));
                    None
                }
            },
            (text, None) => text,
        };
        text.map(SecretString::from)
    }

    /// A required secret.
    pub fn required_secret(&mut self, name: &str, hint: &str) -> Option<SecretString> {
        let faults = self.faults.len();
        let secret = self.secret(name);
        if secret.is_none() && faults == self.faults.len() {
            self.fault(format!("{name} (or {name}_FILE) is not set: {hint}"));
        }
        secret
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                // The message omits the value: it may be a secret that was set by mistake.
                self.fault(format!("{name} is not valid: {error}"));
                None
            }
        }
    }
}

/// A list separated by commas, such as `ALLOWED_ORIGINS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List(pub Vec<String>);

impl FromStr for List {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_end = |c: char| c == '/' || c.is_whitespace();
        let words = text.split(',').map(|word| word.trim_start().trim_end_matches(is_end));
        Ok(Self(words.filter(|word| !word.is_empty()).map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("eighty".into()),
            "EMPTY" => Some(" ".into()),
            "KEY" => Some("hunter2".into()),
            "KEY_FILE" => Some("/nowhere".into()),
            "ORIGINS" => Some("https://a.example/, https://b.example".into()),
            _ => None,
        }
    }

    #[test]
    fn every_fault_is_listed_and_no_value_shown() {
        let faults = Env::read(variables, |env| {
            let port: Option<u16> = env.required("PORT", "the port");
            let empty: Option<String> = env.required("EMPTY", "something");
            let key = env.required_secret("KEY", "the key");
            port.zip(empty).zip(key)
        })
        .unwrap_err()
        .to_string();
        for name in ["PORT is not valid", "EMPTY is not set: something", "KEY and KEY_FILE"] {
            assert!(faults.contains(name), "{name}: {faults}");
        }
        assert!(!faults.contains("eighty") && !faults.contains("hunter2"), "{faults}");
    }

    proptest::proptest! {
        #[test]
        fn a_list_splits_at_commas(text in "[a-z:/., ]{0,40}") {
            let List(words) = text.parse().unwrap();
            for word in &words {
                let is_word = !word.is_empty() && !word.contains(',') && word.trim() == word;
                proptest::prop_assert!(is_word && !word.ends_with('/'), "{word:?}");
            }
            // Joining and parsing the list returns the same list.
            proptest::prop_assert_eq!(words.join(" / , ").parse(), Ok(List(words)));
        }
    }

    #[test]
    fn a_value_out_of_bounds_is_a_fault() {
        let lookup = |name: &str| (name != "UNSET").then(|| "9".to_owned());
        let faults = Env::read(lookup, |env| Some(env.within("LOW", 10..=20, 15))).unwrap_err();
        assert!(faults.to_string().contains("LOW must be 10 to 20"), "{faults}");
        let read = Env::read(lookup, |env| {
            Some((env.within("FITS", 9..=20, 15), env.within("UNSET", 10..=20, 15)))
        });
        assert_eq!(read.unwrap(), (9, 15));
    }

    #[test]
    fn pem_is_given_as_text_or_as_a_path_and_a_fault_does_not_show_it() {
        const PEM: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        let path = std::env::temp_dir().join(format!("chat-pem-{}", std::process::id()));
        std::fs::write(&path, PEM).unwrap();
        let read = |value: &str| {
            let value = value.to_owned();
            let lookup = move |name: &str| (name == "CA").then(|| value.clone());
            Env::read(lookup, |env| env.pem("CA")).map_err(|faults| faults.to_string())
        };
        for value in [PEM, path.to_str().unwrap()] {
            assert_eq!(read(value).unwrap().expose_secret(), PEM);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read("/nowhere").unwrap_err().contains("cannot read /nowhere"));
        assert!(!read("hunter2").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn a_limit_of_zero_is_switched_off() {
        let lookup = |name: &str| match name {
            "OFF" => Some("0".to_owned()),
            "SET" => Some("7".to_owned()),
            _ => None,
        };
        let limits =
            |env: &mut Env<'_>| Some(["OFF", "SET", "UNSET"].map(|name| env.limit(name, 3)));
        assert_eq!(Env::read(lookup, limits).unwrap(), [usize::MAX, 7, 3]);
    }

    #[test]
    fn a_complete_environment_is_read() {
        let (list, limit, key) = Env::read(variables, |env| {
            let key = env.secret("OTHER").or_else(|| Some("none".to_owned().into()))?;
            Some((env.or("ORIGINS", List::default()), env.or("LIMIT", 7_u32), key))
        })
        .unwrap();
        assert_eq!(list.0, ["https://a.example", "https://b.example"]);
        assert_eq!((limit, key.expose_secret()), (7, "none"));
    }
}

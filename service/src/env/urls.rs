//! Variables that are addresses.

use url::Url;

use super::Env;

impl Env<'_> {
    /// An optional `http://…` or `https://…` address.
    pub fn http_url(&mut self, name: &str) -> Option<Url> {
        let url = self.optional(name)?;
        self.check_http(name, url)
    }

    /// A required `http://…` or `https://…` address.
    pub fn required_http_url(&mut self, name: &str, hint: &str) -> Option<Url> {
        let url = self.required(name, hint)?;
        self.check_http(name, url)
    }

    fn check_http(&mut self, name: &str, url: Url) -> Option<Url> {
        if matches!(url.scheme(), "http" | "https") && url.has_host() {
            return Some(url);
        }
        self.fault(format!("{name} must begin with http:// or https://"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_addresses_are_accepted() {
        for (text, is_accepted) in [
            ("http://functions:8080/.well-known/jwks.json", true),
            ("https://chat.example", true),
            ("functions:8080", false),
            ("chat.example", false),
            ("nats://chat.example", false),
            ("http://", false),
        ] {
            let lookup = |_: &str| Some(text.to_owned());
            let read = Env::read(lookup, |env| {
                let required = env.required_http_url("A", "an address");
                env.http_url("B").zip(required)
            });
            assert_eq!(read.is_ok(), is_accepted, "{text}");
            if let Err(faults) = read {
                let faults = faults.to_string();
                assert!(faults.contains("A ") && faults.contains("B "), "{faults}");
            }
        }
    }
}

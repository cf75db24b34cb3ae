//! The `Content-Disposition` header of a download.

/// The value of `Content-Disposition` for a name in any script: an ASCII fallback and the encoded name (RFC 6266,
/// RFC 8187).
pub fn content_disposition(inline: bool, name: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let fallback: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_disposition_encodes_any_script_and_escapes_quotes() {
        assert_eq!(
            content_disposition(false, "보고서 \"1\".pdf"),
            "attachment; filename=\"_____1_.pdf\"; filename*=UTF-8''%EB%B3%B4%EA%B3%A0%EC%84%9C%20%221%22.pdf"
        );
    }

    proptest! {
        #[test]
        fn content_disposition_is_a_valid_header_value(name in "\\PC{1,60}") {
            let header = content_disposition(true, &name);
            prop_assert!(header.bytes().all(|b| (0x20..0x7F).contains(&b)));
            prop_assert_eq!(header.matches('"').count(), 2);
        }
    }
}

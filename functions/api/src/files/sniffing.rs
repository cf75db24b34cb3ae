//! Content sniffing: compares a file's first bytes with its declared type.

/// Checks the first bytes of a file against its declared type. Formats without a signature, such as text, are accepted
/// as declared: a check is needed only for types that browsers show inline.
pub fn check_content_type(declared: &str, first: &[u8]) -> Result<(), String> {
    let Some(found) = infer::get(first).map(|kind| kind.mime_type()) else {
        return if has_signature(declared) {
            Err(format!("it was declared as {declared}, but its content is not"))
        } else {
            Ok(())
        };
    };
    // The detected type may be only the container of the declared one, such as ZIP for office documents.
    let is_container = matches!(
        found,
        "application/zip"
            | "application/gzip"
            | "application/x-ole-storage"
            | "text/xml"
            | "video/webm"
            | "video/mp4"
    ) && (!has_signature(declared)
        || declared.starts_with("audio/")
        || declared.starts_with("video/"));
    // Markup and scripts are text. Downloads as attachments keep browsers from executing them.
    let is_text = found.starts_with("text/") && is_textual(declared);
    if found == declared
        || is_container
        || is_text
        || declared == "application/octet-stream"
        || is_alias(declared, found)
    {
        return Ok(());
    }
    Err(format!("it was declared as {declared}, but its content is {found}"))
}

/// Types whose content always starts with a known signature.
fn has_signature(media_type: &str) -> bool {
    matches!(
        media_type,
        "image/png"
            | "image/jpeg"
            | "image/gif"
            | "image/webp"
            | "application/pdf"
            | "application/zip"
    )
}

/// Text formats: nearly any text may begin like markup or a script.
fn is_textual(media_type: &str) -> bool {
    let is_application = media_type.starts_with("application/");
    let has_suffix = |suffixes: &[&str]| suffixes.iter().any(|end| media_type.ends_with(end));
    media_type.starts_with("text/")
        || has_suffix(&["+xml", "+json"])
        || is_application && has_suffix(&["json", "xml", "script", "-sh", "yaml", "toml"])
}

/// Whether both are names of the same format.
fn is_alias(declared: &str, found: &str) -> bool {
    let canonical = |media_type| match media_type {
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "audio/mp3" => "audio/mpeg",
        "audio/wav" | "audio/wave" => "audio/x-wav",
        "audio/mp4" | "audio/x-m4a" => "audio/m4a",
        "audio/flac" => "audio/x-flac",
        "audio/opus" | "video/ogg" | "application/ogg" => "audio/ogg",
        "image/heic" | "image/heic-sequence" | "image/heif-sequence" => "image/heif",
        "image/x-icon" => "image/vnd.microsoft.icon",
        "font/woff" | "font/woff2" => "application/font-woff",
        "font/ttf" | "font/otf" => "application/font-sfnt",
        "application/x-rar-compressed" => "application/vnd.rar",
        "application/x-zip-compressed" => "application/zip",
        "application/x-gzip" => "application/gzip",
        other => other,
    };
    canonical(declared) == canonical(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_compared_with_the_declared_type() {
        let png = b"\x89PNG\r\n\x1a\n0000";
        assert!(check_content_type("image/png", png).is_ok());
        assert!(check_content_type("application/octet-stream", png).is_ok());
        assert!(check_content_type("image/jpeg", png).is_err());
        assert!(check_content_type("text/plain", png).is_err());
        assert!(check_content_type("image/png", b"hello").is_err());
        assert!(check_content_type("text/plain", b"hello").is_ok());
        assert!(check_content_type("text/plain", b"").is_ok());
        assert!(check_content_type("text/markdown", b"<!-- title --> hello").is_ok());
        assert!(check_content_type("image/svg+xml", b"<?xml version=\"1.0\"?><svg/>").is_ok());
        assert!(check_content_type("image/bmp", b"<html><body></body></html>").is_err());
        assert!(check_content_type("audio/flac", b"fLaC\0\0\0\x22").is_ok());
        assert!(check_content_type("audio/ogg", b"OggS\0\x02").is_ok());
        let zip = b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert!(check_content_type(docx, zip).is_ok());
        assert!(check_content_type("image/png", zip).is_err());
    }
}

//! Whether a file's content can be of its declared type, by its first bytes.

/// Checks the first bytes of a file against its declared type. Formats without a signature (text, unknown
/// ones) are accepted as declared: only types that a browser shows inline need proof.
pub fn content_fits(declared: &str, first: &[u8]) -> Result<(), String> {
    let Some(found) = infer::get(first).map(|kind| kind.mime_type()) else {
        return if is_recognised(declared) {
            Err(format!("declared as {declared}, but its content is not"))
        } else {
            Ok(())
        };
    };
    // Office documents are zip archives, and so on: what is found may be the container.
    let is_container = matches!(
        found,
        "application/zip"
            | "application/gzip"
            | "application/x-ole-storage"
            | "text/xml"
            | "video/webm"
            | "video/mp4"
    ) && (!is_recognised(declared)
        || declared.starts_with("audio/")
        || declared.starts_with("video/"));
    // Markup and scripts are text; that a browser must not run them is the download's concern.
    let is_text = found.starts_with("text/") && is_textual(declared);
    if found == declared
        || is_container
        || is_text
        || declared == "application/octet-stream"
        || is_alias(declared, found)
    {
        return Ok(());
    }
    Err(format!("declared as {declared}, but its content is {found}"))
}

/// Types whose content always tells what it is.
fn is_recognised(media_type: &str) -> bool {
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

/// Types that people write: nearly any text may begin like markup or a script.
fn is_textual(media_type: &str) -> bool {
    let is_application = media_type.starts_with("application/");
    let ends = |ends: &[&str]| ends.iter().any(|end| media_type.ends_with(end));
    media_type.starts_with("text/")
        || ends(&["+xml", "+json"])
        || is_application && ends(&["json", "xml", "script", "-sh", "yaml", "toml"])
}

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
    fn content_is_held_against_what_was_declared() {
        let png = b"\x89PNG\r\n\x1a\n0000";
        assert!(content_fits("image/png", png).is_ok());
        assert!(content_fits("application/octet-stream", png).is_ok());
        assert!(content_fits("image/jpeg", png).is_err());
        assert!(content_fits("text/plain", png).is_err());
        assert!(content_fits("image/png", b"hello").is_err());
        assert!(content_fits("text/plain", b"hello").is_ok());
        assert!(content_fits("text/plain", b"").is_ok());
        assert!(content_fits("text/markdown", b"<!-- title --> hello").is_ok());
        assert!(content_fits("image/svg+xml", b"<?xml version=\"1.0\"?><svg/>").is_ok());
        assert!(content_fits("image/bmp", b"<html><body></body></html>").is_err());
        assert!(content_fits("audio/flac", b"fLaC\0\0\0\x22").is_ok());
        assert!(content_fits("audio/ogg", b"OggS\0\x02").is_ok());
        let zip = b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert!(content_fits(docx, zip).is_ok());
        assert!(content_fits("image/png", zip).is_err());
    }
}

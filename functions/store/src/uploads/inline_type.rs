//! Media types that browsers may show inline. Only these need a proof by content: what is declared as one of them is
//! served without `attachment`. Every other type is accepted as declared and served as an attachment.

/// Formats that cannot run script, in the browsers that show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InlineType {
    Png,
    Jpeg,
    Gif,
    Webp,
    Avif,
    Mp3,
    Ogg,
    Wav,
    /// ISO base media file format.
    Mp4,
    /// WebM is a subset of Matroska, which has the same signature.
    Webm,
}

impl InlineType {
    /// The format of a media type in lower case.
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "image/png" => Self::Png,
            "image/jpeg" => Self::Jpeg,
            "image/gif" => Self::Gif,
            "image/webp" => Self::Webp,
            "image/avif" => Self::Avif,
            "audio/mpeg" => Self::Mp3,
            "audio/ogg" | "video/ogg" => Self::Ogg,
            "audio/wav" | "audio/x-wav" => Self::Wav,
            "audio/m4a" | "audio/mp4" | "video/mp4" => Self::Mp4,
            "audio/webm" | "video/webm" => Self::Webm,
            _ => return None,
        })
    }

    /// Whether a file that begins like this is of the format. The signatures are those by which browsers recognise
    /// these formats (WHATWG MIME Sniffing, section 6).
    pub fn is_format_of(self, first: &[u8]) -> bool {
        match self {
            Self::Png => first.starts_with(b"\x89PNG\r\n\x1A\n"),
            Self::Jpeg => first.starts_with(b"\xFF\xD8\xFF"),
            Self::Gif => first.starts_with(b"GIF87a") || first.starts_with(b"GIF89a"),
            Self::Webp => is_riff(first, b"WEBP"),
            Self::Avif => brands(first).any(|brand| brand == b"avif" || brand == b"avis"),
            Self::Mp3 => first.starts_with(b"ID3") || is_mpeg_audio_frame(first),
            Self::Ogg => first.starts_with(b"OggS\0"),
            Self::Wav => is_riff(first, b"WAVE"),
            Self::Mp4 => brands(first).next().is_some(),
            Self::Webm => first.starts_with(b"\x1A\x45\xDF\xA3"),
        }
    }
}

/// A RIFF file of a form. RF64 is the variant for files over 4 GiB.
fn is_riff(first: &[u8], form: &[u8; 4]) -> bool {
    let is_container = first.starts_with(b"RIFF") || first.starts_with(b"RF64");
    is_container && first.get(8..12) == Some(form)
}

/// The brands of an ISO base media file: the major one, and those it is compatible with.
fn brands(first: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_file_type = matches!(first.get(4..8), Some(b"ftyp" | b"styp"));
    let size = first.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let content = first.get(8..size.min(first.len())).filter(|_| is_file_type);
    let brands = content.unwrap_or_default().chunks_exact(4).enumerate();
    // The second four bytes are the version of the major brand.
    brands.filter(|(at, _)| *at != 1).map(|(_, brand)| brand)
}

/// Whether there is a header of an MPEG audio frame, after padding.
fn is_mpeg_audio_frame(first: &[u8]) -> bool {
    let start = first.iter().position(|byte| *byte != 0).unwrap_or(first.len());
    let Some([sync, version_and_layer, rates, _]) = first[start..].first_chunk() else {
        return false;
    };
    let version = version_and_layer >> 3 & 0b11;
    let layer = version_and_layer >> 1 & 0b11;
    let (bit_rate, sampling_rate) = (rates >> 4, rates >> 2 & 0b11);
    // The values that are excluded are reserved, and those of other formats, such as AAC.
    *sync == 0xFF
        && version_and_layer >> 5 == 0b111
        && version != 0b01
        && layer != 0b00
        && bit_rate != 0b1111
        && sampling_rate != 0b11
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Beginnings of real files of every inline type.
    const GENUINE: [(&str, &[u8]); 17] = [
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("image/jpeg", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0"),
        ("image/jpeg", b"\xFF\xD8\xFF\xE1\x1F\xFEExif\0"),
        ("image/gif", b"GIF89a\x01\0\x01\0"),
        ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
        ("image/avif", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1A"),
        ("image/avif", b"\0\0\0\x1Cftypmif1\0\0\0\0mif1avifmiaf"),
        ("audio/mpeg", b"ID3\x04\0\0\0\0\0\x23"),
        ("audio/mpeg", b"\xFF\xFB\x90\x64"),
        ("audio/mpeg", b"\0\0\0\xFF\xF3\x84\xC4"),
        ("audio/ogg", b"OggS\0\x02\0\0\0\0\0\0\0\0"),
        ("audio/x-wav", b"RIFF\x24\0\0\0WAVEfmt "),
        ("audio/wav", b"RF64\xFF\xFF\xFF\xFFWAVEds64"),
        ("audio/mp4", b"\0\0\0\x1CftypM4A \0\0\x02\0M4A isomiso2"),
        ("video/mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
        ("video/mp4", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "),
        ("video/webm", b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01"),
    ];

    #[test]
    fn a_file_of_an_inline_type_is_recognised_by_its_content() {
        for (declared, first) in GENUINE {
            let format = InlineType::of(declared).unwrap();
            assert!(format.is_format_of(first), "{declared} {first:?}");
            for (other, content) in GENUINE {
                let other = InlineType::of(other).unwrap();
                // AVIF is an ISO base media file.
                let is_same =
                    other == format || (format, other) == (InlineType::Mp4, InlineType::Avif);
                assert_eq!(format.is_format_of(content), is_same, "{declared} {content:?}");
            }
            for lie in [
                &b""[..],
                b"<html><script>alert(1)</script>",
                b"<svg/>",
                b"PK\x03\x04",
                b"%PDF-1.7",
            ] {
                assert!(!format.is_format_of(lie), "{declared} {lie:?}");
            }
        }
        assert!(!InlineType::Mp3.is_format_of(b"\xFF\xF1\x50\x80"), "AAC");
        assert!(!InlineType::Avif.is_format_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "HEIC");
    }

    #[test]
    fn types_that_may_run_script_are_not_inline() {
        for media_type in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "application/pdf",
            "text/javascript",
            "multipart/x-mixed-replace",
        ] {
            assert_eq!(InlineType::of(media_type), None, "{media_type}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_of_an_inline_type_but_by_its_signature(text in "[ -~\\n]{0,40}") {
            for (declared, _) in GENUINE {
                let is_named = ["ID3", "GIF8"].iter().any(|start| text.starts_with(start));
                let is_framed = ["WEBP", "WAVE", "ftyp", "styp"].iter().any(|name| text.contains(name));
                let format = InlineType::of(declared).unwrap();
                prop_assert!(is_named || is_framed || !format.is_format_of(text.as_bytes()));
            }
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes: Vec<u8>) {
            for (declared, _) in GENUINE {
                InlineType::of(declared).unwrap().is_format_of(&bytes);
            }
        }
    }
}

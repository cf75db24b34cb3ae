//! Which types are checked by content, and how each is served.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use stories::{Answer, System, User, stories};

/// Everyday files: name, type as browsers and systems declare it, and beginning. None is shown inline, so none needs
/// to look like its type.
const ATTACHMENTS: [(&str, &str, &[u8]); 33] = [
    ("notes.txt", "text/plain", b"BMW, Audi and other cars\n"),
    ("mz.txt", "text/plain", b"MZ is the plate of Mainz\n"),
    ("id3.md", "text/markdown", b"ID3 tags explained\n"),
    ("gif.txt", "text/plain", b"GIF8 is how a GIF begins\n"),
    ("comment.tex", "text/x-tex", b"%!TEX program = xelatex\n"),
    ("cert.pem", "application/x-x509-ca-cert", b"-----BEGIN CERTIFICATE-----\n"),
    ("key.txt", "text/plain", b"-----BEGIN PGP MESSAGE-----\n"),
    ("riff.csv", "text/csv", b"RIFF,1,WAVE\n"),
    ("ogg.log", "text/plain", b"OggS\0 seen\n"),
    ("png.txt", "text/plain", b"\x89PNG\r\n\x1a\n is the signature\n"),
    ("utf16.txt", "text/plain", b"\xFF\xFEh\0i\0"),
    ("pk.txt", "text/plain", b"PK\x03\x04 is a ZIP\n"),
    ("film.avi", "video/avi", b"RIFF\0\0\0\0AVI LIST"),
    ("film.mov", "video/quicktime", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "),
    ("film.mkv", "video/x-matroska", b"\x1A\x45\xDF\xA3\x93\x42\x82\x88matroska"),
    ("film.3gp", "video/3gpp", b"\0\0\0\x14ftyp3gp5\0\0\0\x01isom"),
    ("letter.rtf", "text/rtf", b"{\\rtf1\\ansi}"),
    ("song.m4a", "audio/aac", b"\0\0\0\x1CftypM4A \0\0\x02\0"),
    ("song.flac", "audio/flac", b"fLaC\0\0\0\x22"),
    ("song.opus", "audio/opus", b"OggS\0\x02"),
    ("tune.mid", "audio/midi", b"MThd\0\0\0\x06"),
    (
        "report.docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        b"PK\x03\x04\x14\0",
    ),
    ("old.doc", "application/msword", b"{\\rtf1 saved by an old program}"),
    ("sheet.xls", "application/vnd.ms-excel", b"a,b\n1,2\n"),
    ("app.apk", "application/vnd.android.package-archive", b"PK\x03\x04\x14\0"),
    ("lib.jar", "application/java-archive", b"PK\x03\x04\x0A\0"),
    ("book.epub", "application/epub+zip", b"PK\x03\x04mimetype"),
    ("setup.exe", "application/x-msdownload", b"MZ\x90\0"),
    ("photo.heic", "image/heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
    ("scan.tif", "image/tiff", b"II*\0"),
    ("drawing.bmp", "image/bmp", b"<html>"),
    ("logo.svg", "image/svg+xml", b"<svg onload=\"alert(1)\"/>"),
    ("page.html", "text/html", b"<script>alert(1)</script>"),
];

/// Files that are shown inline, and what is not of their type.
const INLINE: [(&str, &[u8]); 8] = [
    ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    ("image/jpeg", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0"),
    ("image/gif", b"GIF89a\x01\0\x01\0"),
    ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
    ("audio/mpeg", b"\xFF\xFB\x90\x64"),
    ("audio/mp4", b"\0\0\0\x1CftypM4A \0\0\x02\0M4A isomiso2"),
    ("video/mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41"),
    ("video/webm", b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01"),
];

async fn upload(
    system: &System,
    user: &User,
    (name, media_type, bytes): (&str, &str, &[u8]),
) -> (Value, Answer) {
    let body = json!({ "name": name, "size": bytes.len(), "type": media_type });
    let declared = user.post("/room/lobby/file", body).await.ok();
    assert!(system.upload(&declared, bytes).await.is_success(), "{name}");
    let id = declared["file"]["id"].as_str().unwrap();
    let completed = user.post(&format!("/file/{id}/complete"), json!({})).await;
    (declared, completed)
}

async fn download(system: &System, user: &User, file: &Value) -> (HeaderMap, Vec<u8>) {
    let answer = user.get(&format!("/file/{}", file["id"].as_str().unwrap())).await;
    assert_eq!(answer.status, 302, "{}", answer.body);
    let url = answer.headers["location"].to_str().unwrap();
    let download = system.http.get(url).send().await.unwrap();
    (download.headers().clone(), download.bytes().await.unwrap().to_vec())
}

stories! {
    async fn everyday_files_are_accepted_as_declared_and_served_as_attachments(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        for file in ATTACHMENTS {
            let (name, media_type, bytes) = file;
            let (declared, completed) = upload(&system, &ada, file).await;
            assert_eq!(completed.status, 200, "{name}: {}", completed.body);
            assert_eq!(completed.body["file"], declared["file"], "{name}");
            let (headers, content) = download(&system, &ada, &declared["file"]).await;
            assert_eq!(content, bytes, "{name}");
            assert_eq!(headers["content-type"], media_type, "{name}");
            let disposition = headers["content-disposition"].to_str().unwrap();
            assert!(disposition.starts_with("attachment;"), "{name}: {disposition}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{name}");
        }
    }

    async fn only_files_of_their_declared_type_are_shown_inline(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        for (media_type, bytes) in INLINE {
            let (declared, completed) = upload(&system, &ada, ("a.bin", media_type, bytes)).await;
            assert_eq!(completed.status, 200, "{media_type}: {}", completed.body);
            let (headers, _) = download(&system, &ada, &declared["file"]).await;
            let disposition = headers["content-disposition"].to_str().unwrap();
            assert!(disposition.starts_with("inline;"), "{media_type}: {disposition}");
            for lie in [&b"<html><script>alert(1)</script>"[..], b"<?xml?><svg/>", b"%PDF-1.7", b"MZ\x90\0"] {
                let (declared, refused) = upload(&system, &ada, ("a.bin", media_type, lie)).await;
                refused.problem(422, "file-mismatch");
                let id = declared["file"]["id"].as_str().unwrap();
                ada.get(&format!("/file/{id}")).await.problem(404, "no-such-file");
            }
        }
    }

    async fn file_names_are_normalised_like_all_names(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        for (name, kept) in [
            ("re\u{301}sume\u{301}.txt", "résumé.txt"),
            ("\u{1107}\u{1169}고서.txt", "보고서.txt"),
            ("\u{200E}IMG\u{200B}.txt", "IMG.txt"),
        ] {
            let (declared, completed) = upload(&system, &ada, (name, "text/plain", b"x")).await;
            assert_eq!(declared["file"]["name"], kept);
            assert_eq!(completed.ok()["file"]["name"], kept);
        }
        for name in ["\u{3164}", "\u{2800}", "a\0b", "a\u{202E}gpj.exe", "a/b"] {
            let body = json!({ "name": name, "size": 1, "type": "text/plain" });
            let refused = ada.post("/room/lobby/file", body).await;
            refused.problem(422, "invalid-value");
            assert_eq!(refused.body["errors"][0]["field"], "name", "{}", refused.body);
        }
    }
}

//! `POST /room/{name}/file`: declares a file and returns a presigned upload request.

use axum::{Json, extract::State, http::StatusCode};
use chrono::Utc;
use protocol::{
    FileId, FileName, RoomId, RoomName, Timestamp, safe_integer::SafeInteger, stored::FileRef,
};
use serde::{Deserialize, Serialize};
use store::{db::on_tx, storage::Presigned};

use super::media_type::MediaType;
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, RoomPath},
    members::access,
    state::AppState,
};

/// SHA-256 in hexadecimal.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[0-9a-fA-F]{64}$")]
pub struct Sha256Hex([u8; 32]);

impl TryFrom<String> for Sha256Hex {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&text, &mut hash).map_err(|_| "must be 64 hexadecimal digits")?;
        Ok(Self(hash))
    }
}

impl Sha256Hex {
    fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// Request body of POST /room/{name}/file.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    name: FileName,
    /// Size in bytes.
    size: SafeInteger,
    #[serde(rename = "type")]
    media_type: MediaType,
    /// If given, the storage refuses other content.
    sha256: Option<Sha256Hex>,
}

/// Response of POST /room/{name}/file: the file and the request that uploads it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeclaredFile {
    file: FileRef,
    upload: UploadRequest,
}

/// The request that the client must send to the storage, with exactly these headers.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadRequest {
    method: &'static str,
    url: String,
    headers: std::collections::BTreeMap<String, String>,
    expires_at: Timestamp,
}

refusals!(
    DeclareRefusals: NotAMember, Banned, FileTooLarge(protocol::limits::SINGLE_PUT_BYTES), OverBudget(USER_OVER)
);

/// Declare a file to upload
#[utoipa::path(post, path = "/room/{name}/file", operation_id = "declare_file", tag = "files",
    params(("name" = RoomName, Path)), request_body = NewFile, security(("access" = [])),
    responses((status = 201, body = DeclaredFile, links(("complete" = (operation_id = "complete_file",
        parameters(("id" = "$response.body#/file/id")))))), DeclareRefusals))]
pub async fn declare(
    State(state): State<AppState>,
    user: AuthUser,
    RoomPath(name): RoomPath,
    Body(NewFile { name: file_name, size, media_type, sha256 }): Body<NewFile>,
) -> Result<(StatusCode, Json<DeclaredFile>), ApiError> {
    let room = access::membership(&state, &name, user.id()).await?.room.room_id();
    // Charged like an event, because completing a file publishes it to the gateways.
    state.budgets.charge_user(user.id()).await?;
    let size = size.get();
    if size > state.config.file_bytes {
        return Err(ApiError::FileTooLarge(state.config.file_bytes));
    }
    let file = FileRef {
        id: FileId::generate(),
        name: file_name.as_str().to_owned(),
        size,
        media_type: media_type.as_str().to_owned(),
    };
    let key = object_key(room, file.id);
    let checksum = sha256.as_ref().map(|hash| &hash.0);
    let presigned = state.storage()?.presign_put(&key, size, &file.media_type, checksum).await?;
    let mut tx = state.store.database.begin().await?;
    let inserted = on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO file (id, room_id, uploader_id, name, size, media_type, sha256, object_key, created_at)
         SELECT $1, room_id, user_id, $4, $5, $6, $7, $8, $9 FROM active_member
         WHERE room_id = $2 AND user_id = $3"
    )
    .bind(file.id.as_uuid())
    .bind(room.as_uuid())
    .bind(user.id().as_uuid())
    .bind(&file.name)
    .bind(size as i64)
    .bind(&file.media_type)
    .bind(sha256.as_ref().map(Sha256Hex::to_hex))
    .bind(&key)
    .bind(Utc::now())
    .execute(e));
    if inserted? == 0 {
        // The caller was removed, or the room was deleted, since the membership was read.
        return Err(ApiError::NotAMember);
    }
    tx.commit().await?;
    let Presigned { url, headers, expires_at } = presigned;
    let headers = headers.into_iter().collect();
    let upload = UploadRequest { method: "PUT", url, headers, expires_at };
    Ok((StatusCode::CREATED, Json(DeclaredFile { file, upload })))
}

/// The object's key in the storage. It contains only ids and nothing that a client chose, such as the file's name.
fn object_key(room: RoomId, file: FileId) -> String {
    format!("{}{file}", store::storage::room_prefix(room))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pattern_and_parser_accept_the_same_hashes(text in "[0-9a-fA-F]{63,65}|[0-9a-g+]{64}|\\PC{0,64}") {
            let schema = serde_json::json!(<Sha256Hex as utoipa::PartialSchema>::schema());
            let pattern = regex::Regex::new(schema["pattern"].as_str().unwrap()).unwrap();
            let hash = Sha256Hex::try_from(text.clone());
            prop_assert_eq!(hash.is_ok(), pattern.is_match(&text));
            if let Ok(hash) = hash {
                prop_assert_eq!(hash.to_hex(), text.to_lowercase());
            }
        }
    }
}

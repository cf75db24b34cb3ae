//! `GET /user/export`: all data stored about the caller, as one JSON document. The document is streamed page by page,
//! so that memory stays bounded whatever its size; a client that stops reading is disconnected.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    sessions::{self, Session},
    user::{self, User},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::AuthUser,
    paced_body::{self, Cut, PIECE_BYTES, Reader, Writer},
    state::AppState,
};

mod document;
mod rows;

use self::document::{
    Export, ExportedBan, ExportedFile, ExportedMembership, ExportedMessage, ExportedReaction,
};
use self::rows::{OwnFileRow, OwnMembershipRow, OwnMessageRow, OwnReactionRow};

/// Rows read by one statement and held in memory while the client reads them: about 500 KiB of the longest messages.
const PAGE_ROWS: i64 = 32;

refusals!(ExportRefusals: ExportRunning, TooManyExports);

/// Export all data stored about me
#[utoipa::path(get, path = "/user/export", operation_id = "export_account", tag = "accounts",
    security(("access" = [])),
    responses((status = 200, body = Export,
        headers(("content-disposition" = String, description = "A file name to save it under"))),
        ExportRefusals))]
pub async fn export(
    State(state): State<AppState>,
    user: AuthUser,
    reader: Reader,
) -> Result<Response, ApiError> {
    let account = User::from(user::find(&state, user.id()).await?);
    let slot = state.export_slots.begin(user.id(), state.config.exports_at_once)?;
    let body = paced_body::body(reader, async move |writer| {
        let _slot = slot;
        let document = DocumentWriter { state, user, writer };
        document.write(&account).await
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"export.json\""),
        ),
    ];
    Ok((headers, body).into_response())
}

/// Writes the fields of [`Export`] in their order.
struct DocumentWriter {
    state: AppState,
    user: AuthUser,
    writer: Writer,
}

impl DocumentWriter {
    async fn write(self, account: &User) -> Result<Writer, Cut> {
        let me = self.user.id();
        self.write_text(b"{\"account\":").await?;
        self.write_text(&json(account)?).await?;
        let current = self.user.session();
        // Each closure gets its own copy of the state, because the future that it returns cannot borrow an argument.
        self.list("sessions", |state: AppState, after| async move {
            let rows = sessions::page(&state, me, after, PAGE_ROWS).await?;
            Ok(page(rows, |row| row.id, |row| Session::of(row, current)))
        })
        .await?;
        self.list("rooms", |state: AppState, after| async move {
            let rows: Vec<OwnMembershipRow> =
                rows::memberships(&state, me, after, PAGE_ROWS).await?;
            Ok(page(rows, |row| row.room_id, ExportedMembership::from))
        })
        .await?;
        self.list("bans", |state: AppState, after| async move {
            let rows = rows::bans(&state, me, after, PAGE_ROWS).await?;
            Ok(page(rows, |row| row.room_id, ExportedBan::from))
        })
        .await?;
        self.list("messages", |state: AppState, after| async move {
            let rows: Vec<OwnMessageRow> = rows::messages(&state, me, after, PAGE_ROWS).await?;
            Ok(page(rows, |row| (row.room_id, row.seq), ExportedMessage::from))
        })
        .await?;
        self.list("reactions", |state: AppState, after| async move {
            let rows: Vec<OwnReactionRow> = rows::reactions(&state, me, after, PAGE_ROWS).await?;
            Ok(page(rows, OwnReactionRow::position, ExportedReaction::from))
        })
        .await?;
        self.list("files", |state: AppState, after| async move {
            let rows: Vec<OwnFileRow> = rows::files(&state, me, after, PAGE_ROWS).await?;
            Ok(page(rows, |row| row.id, ExportedFile::from))
        })
        .await?;
        self.write_text(b"}").await?;
        Ok(self.writer)
    }

    /// Writes one list. `read` returns a page of it and the position after which the next page starts.
    async fn list<T: Serialize, P, F>(
        &self,
        name: &str,
        read: impl Fn(AppState, Option<P>) -> F,
    ) -> Result<(), Cut>
    where
        F: Future<Output = Result<(Vec<T>, Option<P>), ApiError>>,
    {
        self.write_text(format!(",\"{name}\":[").as_bytes()).await?;
        let (mut after, mut is_first) = (None, true);
        loop {
            let (items, next) = read(self.state.clone(), after).await?;
            let mut text = Vec::new();
            for item in &items {
                if !std::mem::take(&mut is_first) {
                    text.push(b',');
                }
                text.extend(json(item)?);
                if text.len() >= PIECE_BYTES {
                    self.writer.write(std::mem::take(&mut text).into()).await?;
                }
            }
            self.writer.write(text.into()).await?;
            match next {
                Some(next) => after = Some(next),
                None => return self.write_text(b"]").await,
            }
        }
    }

    async fn write_text(&self, text: &[u8]) -> Result<(), Cut> {
        self.writer.write(Bytes::copy_from_slice(text)).await
    }
}

impl From<ApiError> for Cut {
    fn from(error: ApiError) -> Self {
        Self::Failed(match error {
            ApiError::Internal(error) => format!("{error:#}"),
            error => error.to_string(),
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Cut> {
    serde_json::to_vec(value).map_err(|error| Cut::Failed(error.to_string()))
}

/// Converts one page of rows. The second value is the position of the next page, `None` if this page is not full.
fn page<R, T, P>(
    rows: Vec<R>,
    position: impl Fn(&R) -> P,
    convert: impl Fn(R) -> T,
) -> (Vec<T>, Option<P>) {
    let next = rows.last().filter(|_| rows.len() as i64 == PAGE_ROWS).map(position);
    (rows.into_iter().map(convert).collect(), next)
}

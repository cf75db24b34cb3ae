//! `GET /user/export`: all that is stored about the caller, as one JSON document, written as it is
//! read: however much it is, no more than a page of it is in memory, and not for long if the reader stops.

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
use self::rows::{FileRow, MembershipRow, OwnMessageRow, ReactionRow};

/// Rows read at once, and held while the reader takes them: of the longest messages some 500 KiB.
const PAGE: i64 = 32;

refusals!(NotExported: ExportRunning, TooManyExports);

/// Take out all that is stored about me
#[utoipa::path(get, path = "/user/export", operation_id = "export_account", tag = "accounts",
    security(("access" = [])),
    responses((status = 200, body = Export,
        headers(("content-disposition" = String, description = "The name to save it under"))), NotExported))]
pub async fn export(
    State(state): State<AppState>,
    user: AuthUser,
    reader: Reader,
) -> Result<Response, ApiError> {
    let account = User::from(user::find(&state, user.id()).await?);
    let running = state.export_slots.begin(user.id(), state.config.exports_at_once)?;
    let body = paced_body::body(reader, async move |writer| {
        let _running = running;
        let document = Document { state, user, writer };
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

struct Document {
    state: AppState,
    user: AuthUser,
    writer: Writer,
}

impl Document {
    async fn write(self, account: &User) -> Result<Writer, Cut> {
        let me = self.user.id();
        self.write_text(b"{\"account\":").await?;
        self.write_text(&json(account)?).await?;
        let current = self.user.session();
        // Each reads by itself: a page borrows nothing of the document.
        self.list("sessions", |state: AppState, after| async move {
            let rows = sessions::page(&state, me, after, PAGE).await?;
            Ok(page(rows, |row| row.id, |row| Session::of(row, current)))
        })
        .await?;
        self.list("rooms", |state: AppState, after| async move {
            let rows: Vec<MembershipRow> = rows::memberships(&state, me, after, PAGE).await?;
            Ok(page(rows, |row| row.room_id, ExportedMembership::from))
        })
        .await?;
        self.list("bans", |state: AppState, after| async move {
            let rows = rows::bans(&state, me, after, PAGE).await?;
            Ok(page(rows, |row| row.room_id, ExportedBan::from))
        })
        .await?;
        self.list("messages", |state: AppState, after| async move {
            let rows: Vec<OwnMessageRow> = rows::messages(&state, me, after, PAGE).await?;
            Ok(page(rows, |row| (row.room_id, row.seq), ExportedMessage::from))
        })
        .await?;
        self.list("reactions", |state: AppState, after| async move {
            let rows: Vec<ReactionRow> = rows::reactions(&state, me, after, PAGE).await?;
            Ok(page(rows, ReactionRow::place, ExportedReaction::from))
        })
        .await?;
        self.list("files", |state: AppState, after| async move {
            let rows: Vec<FileRow> = rows::files(&state, me, after, PAGE).await?;
            Ok(page(rows, |row| row.id, ExportedFile::from))
        })
        .await?;
        self.write_text(b"}").await?;
        Ok(self.writer)
    }

    /// A list, page by page.
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

/// A page and where the next one begins; none after a page that is not full.
fn page<R, T, P>(
    rows: Vec<R>,
    place: impl Fn(&R) -> P,
    show: impl Fn(R) -> T,
) -> (Vec<T>, Option<P>) {
    let next = rows.last().filter(|_| rows.len() as i64 == PAGE).map(place);
    (rows.into_iter().map(show).collect(), next)
}

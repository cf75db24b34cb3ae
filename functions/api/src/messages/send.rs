//! `POST /room/{name}/message`: sends a message without a socket.

use axum::{Json, extract::State, http::StatusCode};
use protocol::{
    FileId, MessageId, MessageText, RoomId, RoomName, Seq, Timestamp,
    event::Stored,
    message_lookup::FirstStored,
    message_rules,
    safe_integer::SafeInteger,
    stored::{FileRef, Message, StoredEvent},
    subject,
};
use serde::{Deserialize, Serialize};
use store::message_lookup;

use crate::{
    accounts,
    docs::refusals::{ROOM_OVER, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, RoomPath, Trace},
    files,
    members::access,
    state::AppState,
};

/// Request body of POST /room/{name}/message.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewMessage {
    /// Idempotency key: a message sent again with the same id, by HTTP or by socket, is stored once.
    id: MessageId,
    /// May be blank only if there is a file.
    #[schema(schema_with = MessageText::sent_schema)]
    msg: MessageText,
    file_id: Option<FileId>,
    /// The seq of the message that this one replies to.
    reply_to: Option<SafeInteger>,
}

/// Response of POST /room/{name}/message: where and when the message was stored.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SentMessage {
    #[schema(value_type = u64)]
    seq: Seq,
    at: Timestamp,
    /// Whether the message had been stored by an earlier request.
    duplicate: bool,
}

refusals!(SendRefusals: NotAMember, Banned, NoSuchFile, OverBudget(USER_OVER), OverBudget(ROOM_OVER));

/// Send a message
#[utoipa::path(post, path = "/room/{name}/message", operation_id = "send_message", tag = "messages",
    params(("name" = RoomName, Path)),
    request_body = NewMessage, security(("access" = [])),
    responses((status = 201, body = SentMessage), SendRefusals))]
pub async fn send(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
    Body(NewMessage { id, msg, file_id, reply_to }): Body<NewMessage>,
) -> Result<(StatusCode, Json<SentMessage>), ApiError> {
    let room = access::membership(&state, &name, user.id()).await?.room.room_id();
    message_rules::check_text(&msg, file_id.is_some(), state.config.message_chars)?;
    state.budgets.charge_room(user.id(), room).await?;
    let at = Timestamp::now();
    if let Some(FirstStored { seq, at }) =
        message_lookup::find_before_publish(&state.store, room, user.id(), id, at).await?
    {
        return Ok((StatusCode::CREATED, Json(SentMessage { seq, at, duplicate: true })));
    }
    let file = match file_id {
        Some(file) => Some(find_complete_file(&state, room, file).await?),
        None => None,
    };
    let from = accounts::load_person(&state, user.id()).await?;
    let reply_to = reply_to.map(Seq::from);
    let event = StoredEvent::ReceiveMsg(Message { id, from, msg, at, file, reply_to });
    let dedupe = subject::message_id(user.id(), room, id);
    let log = &state.store.log;
    let Stored { seq, at, duplicate } = log.append_once(room, &dedupe, &event, Some(trace)).await?;
    Ok((StatusCode::CREATED, Json(SentMessage { seq, at, duplicate })))
}

/// A file of the room whose upload is complete.
async fn find_complete_file(
    state: &AppState,
    room: RoomId,
    file: FileId,
) -> Result<FileRef, ApiError> {
    let row = files::find(state, file).await?.ok_or(ApiError::NoSuchFile)?;
    if row.room_id != room.as_uuid() || row.completed_at.is_none() {
        return Err(ApiError::NoSuchFile);
    }
    Ok(row.reference())
}

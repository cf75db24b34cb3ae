//! `PATCH /room/{name}`: owners change a room's title, visibility or password.

use axum::{Json, extract::State};
use protocol::{Role, RoomName, RoomTitle, Timestamp, stored::StoredEvent};
use serde::{Deserialize, Deserializer};
use store::{
    db::on_tx, hash_queue::Requester, members, password::RoomPassword, rate_limit::RateLimit,
    search_text::room_search_text, throttle::FIRST_WAIT,
};

use super::view::Room;
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, RoomPath, Trace},
    members::access,
    room_row::RoomRow,
    state::AppState,
};

/// Request body of PATCH /room/{name}. Omitted fields stay unchanged; `null` removes title or password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoomChange {
    #[serde(default, deserialize_with = "double_option")]
    #[schema(value_type = Option<RoomTitle>)]
    title: Option<Option<RoomTitle>>,
    private: Option<bool>,
    #[serde(default, deserialize_with = "double_option")]
    #[schema(value_type = Option<RoomPassword>)]
    password: Option<Option<RoomPassword>>,
}

/// Deserializes `null` as `Some(None)`. With `#[serde(default)]`, an omitted field is `None`.
fn double_option<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

refusals!(
    UpdateRoomRefusals: NotAMember, Banned, NotAnOwner, TooManyAttempts(FIRST_WAIT), OverBudget(USER_OVER)
);

/// Change a room
#[utoipa::path(patch, path = "/room/{name}", operation_id = "update_room", tag = "rooms",
    params(("name" = RoomName, Path)),
    request_body = RoomChange, security(("access" = [])),
    responses((status = 200, body = Room), UpdateRoomRefusals))]
pub async fn update(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
    Body(RoomChange { title, private, password }): Body<RoomChange>,
) -> Result<Json<Room>, ApiError> {
    let found = access::membership(&state, &name, user.id()).await?;
    if found.role < Role::Owner {
        return Err(ApiError::NotAnOwner);
    }
    state.budgets.charge_user(user.id()).await?;
    let hash = match password {
        Some(Some(password)) => {
            RateLimit::new_passwords(state.config.limits.new_passwords_per_hour, user.id())
                .check(&state.store.database)
                .await?;
            Some(Some(state.hasher.hash(Requester::User(user.id()), password).await?))
        }
        Some(None) => Some(None),
        None => None,
    };
    let id = found.room.room_id();
    let mut tx = state.begin(trace).await?;
    // Serialises concurrent changes, so that the second reads the result of the first. The role may have changed since
    // it was read above.
    let locked = members::lock(&mut tx, id).await?.ok_or(ApiError::NoSuchRoom)?;
    if locked.member(&mut tx, user.id()).await?.is_none_or(|me| me.role < Role::Owner) {
        return Err(ApiError::NotAnOwner);
    }
    let mut room = Room::from(RoomRow::locked(&mut tx, id).await?);
    if let Some(title) = &title {
        room.title = title.as_ref().map(|title| title.as_str().to_owned());
    }
    room.private = private.unwrap_or(room.private);
    on_tx!(&mut tx, e => sqlx::query(
        "UPDATE room SET title = $2, private = $3, parts = $4 WHERE id = $1"
    )
    .bind(id.as_uuid())
    .bind(&room.title)
    .bind(room.private)
    .bind(room_search_text(&room.name, room.title.as_deref()))
    .execute(e))?;
    if let Some(hash) = hash {
        room.password_required = hash.is_some();
        on_tx!(&mut tx, e => sqlx::query("UPDATE room SET password_hash = $2 WHERE id = $1")
            .bind(id.as_uuid()).bind(hash).execute(e))?;
    }
    let title = room.title.as_deref().map(RoomTitle::parse).transpose();
    let title = title.map_err(|error| ApiError::Internal(error.into()))?;
    let (private, by, at) = (room.private, user.id(), Timestamp::now());
    let event = StoredEvent::RoomUpdated { title, private, by, at };
    tx.emit(id, &event).await?;
    tx.commit().await?;
    Ok(Json(room))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn field(
        value: impl Strategy<Value = Value> + 'static,
    ) -> impl Strategy<Value = Option<Value>> {
        prop_oneof![Just(None), Just(Some(Value::Null)), value.prop_map(Some)]
    }

    proptest! {
        #[test]
        fn omitted_null_and_given_fields_are_distinguished(
            title in field("[a-z]{1,9}".prop_map(Value::from)),
            private in field(any::<bool>().prop_map(Value::from)),
            password in field("[a-z]{1,9}".prop_map(Value::from)),
            unknown in proptest::option::of("x[a-z]{0,9}"),
        ) {
            let named = [("title", &title), ("private", &private), ("password", &password)];
            let given = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
            let mut body: Map<String, Value> = given.collect();
            let is_known = unknown.is_none();
            body.extend(unknown.map(|name| (name, Value::from(1))));
            let parsed = protocol::json::parse::<RoomChange>(Value::from(body).to_string().as_bytes());
            let Ok(change) = parsed else {
                prop_assert!(!is_known);
                return Ok(());
            };
            let text = |value: &Option<Value>| value.as_ref().map(|value| value.as_str().map(str::to_owned));
            prop_assert_eq!(change.title.map(|title| title.map(|title| title.as_str().to_owned())), text(&title));
            prop_assert_eq!(change.private, private.as_ref().and_then(Value::as_bool));
            let is_some = change.password.map(|password| password.is_some());
            prop_assert_eq!(is_some, text(&password).map(|text| text.is_some()));
        }
    }
}

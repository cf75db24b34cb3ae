//! Ids: UUIDs in their hyphenated text form (RFC 9562, section 4), with a type for each kind.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant};

use crate::{Timestamp, limits};

/// A text that is not a hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct ParseIdError;

/// Accepts the hyphenated form of 36 characters only. Braces, URNs and bare hex would give one id several
/// spellings in NATS subjects and dedupe keys.
fn parse(text: &str) -> Result<Uuid, ParseIdError> {
    if text.len() != 36 {
        return Err(ParseIdError);
    }
    Uuid::try_parse(text).map_err(|_| ParseIdError)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
        )]
        #[serde(try_from = "std::borrow::Cow<'_, str>", into = "Uuid")]
        #[schema(value_type = String, format = Uuid, example = "01890a5d-ac96-774b-bcce-b302099a8057")]
        pub struct $name(Uuid);

        impl $name {
            /// A new UUIDv7: later ids sort after earlier ones.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID, as databases store it.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<std::borrow::Cow<'_, str>> for $name {
            type Error = ParseIdError;
            fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, ParseIdError> {
                parse(&text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

id!(
    /// An account.
    UserId
);
id!(
    /// A room. Its text is also the last token of the room's NATS subjects.
    RoomId
);
id!(
    /// A file of a room.
    FileId
);
id!(
    /// A login session: one family of refresh tokens.
    SessionId
);
id!(
    /// A message. Its sender chooses the id; the same id by the same user in the same room is stored once.
    MessageId
);

impl MessageId {
    /// Whether the id was created so recently that an earlier attempt with it must be within JetStream's dedupe
    /// window. A UUIDv7 contains the time of its creation. For any other id, and for a time in the far past or
    /// in the future, an earlier attempt must be looked up before the message is stored.
    pub fn is_fresh(self, now: Timestamp) -> bool {
        let is_v7 = self.0.get_version_num() == 7 && self.0.get_variant() == Variant::RFC4122;
        // The first 48 bits are Unix milliseconds (RFC 9562, section 5.7).
        let made = (self.0.as_u128() >> 80) as i64;
        let now = now.utc().timestamp_millis();
        let oldest = now - limits::FRESH_ID_SECONDS as i64 * 1_000;
        let newest = now + limits::FRESH_ID_AHEAD_SECONDS as i64 * 1_000;
        is_v7 && (oldest..=newest).contains(&made)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_id_is_fresh_and_ids_of_other_versions_never_are() {
        let now = Timestamp::now();
        assert!(MessageId::generate().is_fresh(now));
        let fresh = MessageId::generate().as_uuid().as_u128();
        for version in (0..16_u128).filter(|version| *version != 7) {
            let other = fresh & !(0xf << 76) | version << 76;
            assert!(!MessageId(Uuid::from_u128(other)).is_fresh(now), "version {version}");
        }
        // Version and time have other meanings in other variants.
        for variant in [0b00_u128, 0b01, 0b11] {
            let other = fresh & !(0b11 << 62) | variant << 62;
            assert!(!MessageId(Uuid::from_u128(other)).is_fresh(now), "variant {variant:b}");
        }
        for id in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
            assert!(!id.parse::<MessageId>().unwrap().is_fresh(now), "{id}");
        }
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        let id = RoomId::generate();
        let hyphenated = id.to_string();
        assert_eq!(hyphenated.parse(), Ok(id));
        for spelling in [
            hyphenated.replace('-', ""),
            format!("{{{hyphenated}}}"),
            format!("urn:uuid:{hyphenated}"),
            format!("{hyphenated} "),
        ] {
            assert_eq!(spelling.parse::<RoomId>(), Err(ParseIdError), "{spelling}");
        }
    }

    /// A UUIDv7 of a time, with any other bits.
    fn v7(millis: u64, bits: u128) -> MessageId {
        let random = bits & ((1 << 76) - 1) & !(0b11 << 62);
        MessageId(Uuid::from_u128(u128::from(millis) << 80 | 7 << 76 | 0b10 << 62 | random))
    }

    proptest! {
        /// An id that is stored without a look-up is still within JetStream's dedupe window, as long as the client's
        /// clock is not ahead by more than the margin.
        #[test]
        fn a_fresh_id_was_never_stored_before_the_dedupe_window(
            sent in 1_600_000_000_000..2_000_000_000_000_i64,
            ahead in -3_600_000..=480_000_i64,
            later in 0..7_200_000_i64,
            bits: u128,
        ) {
            let id = v7((sent + ahead) as u64, bits);
            let retried = chrono::DateTime::from_timestamp_millis(sent + later).unwrap();
            if id.is_fresh(retried.into()) {
                prop_assert!(later <= limits::DEDUPE_SECONDS as i64 * 1_000);
            }
        }

        #[test]
        fn an_id_is_fresh_for_two_minutes_and_one_ahead(
            now in 1_600_000_000_000..2_000_000_000_000_i64,
            age in -200_000..200_000_i64,
            bits: u128,
        ) {
            let moment = chrono::DateTime::from_timestamp_millis(now).unwrap();
            let is_fresh = v7((now - age) as u64, bits).is_fresh(moment.into());
            prop_assert_eq!(is_fresh, (-60_000..=120_000).contains(&age));
        }

        #[test]
        fn no_id_at_any_time_overflows(
            bits: u128,
            millis in -62_167_219_200_000..=253_402_300_799_999_i64,
        ) {
            let moment = chrono::DateTime::from_timestamp_millis(millis).unwrap();
            let _ = MessageId(Uuid::from_u128(bits)).is_fresh(moment.into());
        }

        #[test]
        fn every_parsed_id_is_a_valid_subject_token(text in ".{0,40}") {
            if let Ok(id) = text.parse::<RoomId>() {
                prop_assert!(id.to_string().bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
            }
        }
    }
}

//! JSON schemas of types, for the AsyncAPI document.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

/// Schemas by the name that references use.
pub(crate) type Schemas = BTreeMap<String, Value>;

/// The schemas of a client event.
pub(crate) struct EventSchema {
    pub name: &'static str,
    pub schema: fn(&mut Schemas) -> Value,
    /// Generates the schema of the acknowledgement's fields besides `ok`.
    pub answer: fn(&mut Schemas) -> Value,
}

/// The schema of a type. The schemas that it refers to are added to `all`.
pub(crate) fn schema_of<T: ToSchema>(all: &mut Schemas) -> Value {
    let mut used = Vec::new();
    T::schemas(&mut used);
    all.extend(used.into_iter().map(|(name, schema)| (name, json!(schema))));
    json!(<T as PartialSchema>::schema())
}

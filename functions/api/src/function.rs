//! The functions that the HTTP routes are divided into on AWS Lambda. A container serves all of them.

use axum::http::Method;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    AppState, accounts, config::Needs, docs, files, health, members, messages, rooms, web_app,
};

/// A function, which is a binary of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Accounts,
    Rooms,
    Files,
    Docs,
}

impl Function {
    pub const ALL: [Self; 4] = [Self::Accounts, Self::Rooms, Self::Files, Self::Docs];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Rooms => "rooms",
            Self::Files => "files",
            Self::Docs => "docs",
        }
    }

    /// `None` if it needs no connections at all.
    pub fn needs(self) -> Option<Needs> {
        match self {
            Self::Accounts | Self::Rooms => Some(Needs { storage: false, signing_key: true }),
            Self::Files => Some(Needs { storage: true, signing_key: false }),
            Self::Docs => None,
        }
    }

    /// The routes that are described by OpenAPI. `docs` has none.
    pub(crate) fn resource(self) -> OpenApiRouter<AppState> {
        match self {
            Self::Accounts => accounts::router().merge(health::public_keys()),
            Self::Rooms => rooms::router().merge(members::router()).merge(messages::router()),
            Self::Files => files::router().merge(health::checks()),
            Self::Docs => OpenApiRouter::new(),
        }
    }

    /// All methods and paths that a gateway has to pass on to the function. A path may contain `{name}` for one segment
    /// and `{*path}` for the rest.
    pub fn routes(self) -> Vec<(Method, String)> {
        let pages = docs::PATHS.iter().chain(&web_app::PATHS);
        if self == Self::Docs {
            return pages.map(|path| (Method::GET, (*path).to_owned())).collect();
        }
        let paths = serde_json::json!(self.resource().get_openapi())["paths"].take();
        let operations = |(path, item): (&String, &Value)| {
            let methods = item.as_object().into_iter().flatten().map(|(method, _)| method.clone());
            let of_path = |method: String| {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok();
                Some((method?, path.clone()))
            };
            methods.filter_map(of_path).collect::<Vec<_>>()
        };
        paths.as_object().into_iter().flatten().flat_map(operations).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_documented_route_is_in_exactly_one_function() {
        let document = docs::document(crate::functions().get_openapi());
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut found = BTreeSet::new();
        for function in Function::ALL {
            for (method, path) in function.routes() {
                let route = format!("{method} {path}");
                assert!(found.insert(route.clone()), "{route} is in two functions");
            }
        }
        let missing: Vec<_> = documented.difference(&found).collect();
        assert!(missing.is_empty(), "{missing:?}");
        // Files of pages are not described by OpenAPI.
        let undocumented: Vec<_> = found.difference(&documented).collect();
        assert!(undocumented.iter().all(|route| route.starts_with("GET /")), "{undocumented:?}");
    }
}

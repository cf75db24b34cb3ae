//! Who may use what.

use std::collections::BTreeMap;

use crate::{
    module::Crate,
    names::Target,
    workspace::{Package, Workspace},
};

/// Only files below one of `places` may use `what`.
struct Only {
    what: &'static str,
    places: &'static [&'static str],
    reason: &'static str,
}

/// No file below `place` may use any of `what`: other crates, or own modules (`crate::room`).
struct Never {
    place: &'static str,
    what: &'static [&'static str],
    reason: &'static str,
}

const ONLY: &[Only] = &[
    Only {
        what: "async_nats",
        places: &[
            "service/src/",
            "functions/store/src/message_lookup/responder.rs",
            "functions/api/src/health.rs",
            "functions/api/src/state.rs",
            "functions/archive/src/",
            "gateway/src/bus.rs",
            "infra/provision/src/",
            "tests/",
        ],
        reason: "what all processes do with NATS is in `service`; the gateway's rules stay free of its client",
    },
    Only {
        what: "sqlx",
        places: &[
            "functions/store/src/",
            "functions/api/src/",
            "functions/archive/src/",
            "bench/src/",
            "tests/",
        ],
        reason: "the database belongs to the functions; the gateway works without one",
    },
    Only {
        what: "aws_sdk_s3",
        places: &["functions/store/src/storage", "infra/provision/src/s3_bucket.rs"],
        reason: "object storage has one wrapper; provision creates the bucket",
    },
    Only {
        what: "aws_config",
        places: &["functions/store/src/aws/"],
        reason: "credentials for AWS are read in one place",
    },
    Only {
        what: "aws_sdk_secretsmanager",
        places: &["functions/store/src/aws/secrets.rs"],
        reason: "secrets are read at the start, in one place",
    },
    Only {
        what: "lambda_http",
        places: &["functions/api/src/lambda/"],
        reason: "handlers are the same in a container and on Lambda",
    },
    Only {
        what: "lambda_runtime",
        places: &[
            "functions/api/src/lambda/",
            "functions/archive/src/main.rs",
            "functions/uploads/src/main.rs",
        ],
        reason: "what a function does is independent of how it is invoked",
    },
];

const NEVER: &[Never] = &[
    Never {
        place: "protocol/src/",
        what: &["service", "tokio", "axum", "hyper", "async_nats", "sqlx", "aws_sdk_s3", "reqwest"],
        reason: "the wire contract does no I/O and depends on no framework",
    },
    Never {
        place: "service/src/",
        what: &["store", "api", "archive", "gateway", "provision", "local"],
        reason: "`service` is below all processes",
    },
    Never {
        place: "gateway/src/",
        what: &["store", "api", "archive", "provision", "local"],
        reason: "gateway and functions meet in NATS and in `protocol` only",
    },
    Never {
        place: "functions/",
        what: &["gateway", "provision", "local"],
        reason: "gateway and functions meet in NATS and in `protocol` only",
    },
    Never {
        place: "functions/store/src/",
        what: &["api", "archive", "axum", "hyper", "tower_http", "utoipa_axum", "lambda_http"],
        reason: "`store` returns domain errors and does not depend on HTTP",
    },
    Never {
        place: "functions/archive/src/",
        what: &["api", "axum", "hyper", "tower_http", "utoipa", "utoipa_axum"],
        reason: "the archive builds without the HTTP functions",
    },
    Never {
        place: "functions/uploads/src/",
        what: &["api", "archive", "axum", "hyper", "lambda_http"],
        reason: "event functions build without the HTTP functions",
    },
    Never {
        place: "infra/provision/src/",
        what: &["api", "archive", "axum", "gateway", "local"],
        reason: "the release step builds without the servers",
    },
    Never {
        place: "infra/chatctl/src/",
        what: &["api", "archive", "axum", "gateway", "local", "provision", "sqlx"],
        reason: "the operator's commands use the store, like the functions, and build without the servers",
    },
    Never {
        place: "bench/src/",
        what: &[
            "service",
            "store",
            "api",
            "archive",
            "gateway",
            "provision",
            "local",
            "async_nats",
        ],
        reason: "the benchmark measures programs from outside, by their wire",
    },
    Never {
        place: "gateway/src/session",
        what: &["tokio", "async_nats", "axum", "crate::room", "crate::worker", "crate::bus"],
        reason: "what a socket may do is decided by pure rules, without I/O",
    },
    Never {
        place: "gateway/src/wire/",
        what: &["async_nats", "crate::room", "crate::worker", "crate::bus", "crate::session"],
        reason: "the wire formats are independent of the chat",
    },
];

/// From a file and what it uses, to the line where it is used first.
type Uses = BTreeMap<(String, String), usize>;

/// All uses that break a rule, with the reason for the rule.
pub fn violations(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for package in &workspace.packages {
        for ((file, what), line) in uses(workspace, package)? {
            broken.extend(reason(&file, line, &what));
        }
    }
    Ok(broken)
}

/// Places and own modules in the tables that do not exist: such a row would check nothing.
pub fn missing_places(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let files = workspace.files(&["rs"])?;
    let files: Vec<String> = files.iter().map(|file| workspace.relative(file)).collect();
    let only = ONLY.iter().flat_map(|rule| rule.places).map(|place| (*place).to_owned());
    let never = NEVER.iter().map(|rule| rule.place.to_owned());
    let places = only.chain(never).chain(NEVER.iter().flat_map(own_modules));
    Ok(places.filter(|place| !files.iter().any(|file| file.starts_with(place))).collect())
}

/// The paths without extension of the modules that a rule names: `gateway/src/room`.
fn own_modules(rule: &Never) -> impl Iterator<Item = String> {
    let folder = rule.place.split_inclusive("src/").next().unwrap_or(rule.place);
    let modules = rule.what.iter().filter_map(|what| what.strip_prefix("crate::"));
    modules.map(move |module| format!("{folder}{}", module.replace("::", "/")))
}

fn reason(file: &str, line: usize, what: &str) -> Option<String> {
    let text = |reason: &str| Some(format!("{file}:{line} uses {what}: {reason}"));
    for rule in ONLY {
        let is_allowed = rule.places.iter().any(|place| file.starts_with(place));
        if is_or_below(what, rule.what) && !is_allowed {
            return text(rule.reason);
        }
    }
    for rule in NEVER {
        let is_forbidden = rule.what.iter().any(|forbidden| is_or_below(what, forbidden));
        if file.starts_with(rule.place) && is_forbidden {
            return text(rule.reason);
        }
    }
    None
}

fn is_or_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What the package's product code uses: crates by their name, own modules by their path.
fn uses(workspace: &Workspace, package: &Package) -> anyhow::Result<Uses> {
    let mut found = Uses::new();
    for target in &package.targets {
        let code = Crate::read(&target.src_path, false)?;
        for (index, module) in code.modules.iter().enumerate() {
            let file = workspace.relative(&module.file);
            let imports = module.imports.iter().map(|import| (&import.segments, import.line));
            let paths = module.paths.iter().map(|path| (&path.segments, path.line));
            for (segments, line) in imports.chain(paths) {
                let what = match code.resolve(index, segments) {
                    Some(Target::Other(path)) if path.len() > 1 => path[0].clone(),
                    Some(Target::Item(other)) if !code.is_below(other, index) => {
                        code.modules[other].name()
                    }
                    _ => continue,
                };
                let first = found.entry((file.clone(), what)).or_insert(line);
                *first = line.min(*first);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_tables_forbid_what_they_say_and_no_more() {
        assert!(reason("gateway/src/bus.rs", 1, "async_nats").is_none());
        assert!(reason("gateway/src/session.rs", 1, "async_nats").is_some());
        assert!(reason("gateway/src/session.rs", 1, "crate::room::live").is_some());
        assert!(reason("gateway/src/session.rs", 1, "crate::roommates").is_none());
        assert!(reason("functions/store/src/db.rs", 1, "sqlx").is_none());
        assert!(reason("functions/store/src/db.rs", 1, "axum").is_some());
        assert!(reason("functions/api/src/lib.rs", 1, "gateway").is_some());
    }
}

//! Checks of infra/aws without AWS: the templates have the routes and variables of the code, and are documented.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use api::{Site, function::Function};
use local::secrets;
use serde_json::Value;
use service::{env::Env, serve, telemetry::TelemetryConfig};

/// A program and the variables that the templates give it. `None` is a value that only AWS knows.
struct Program {
    name: String,
    variables: BTreeMap<String, Option<String>>,
}

/// The templates by name, as JSON.
fn templates() -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(tests.join("python/template.py"));
    // PyYAML is a dependency of Schemathesis.
    let printed = command.env("PYTHONPATH", tests.join("../.tools/schemathesis")).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    serde_json::from_slice(&printed.stdout).unwrap()
}

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// All resources of a type, with their names.
fn resources<'a>(templates: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let all = templates.as_object().unwrap().values();
    let all = all.flat_map(|template| template["Resources"].as_object().unwrap());
    all.filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
        .collect()
}

/// What an expression is if all conditions hold, or if none does.
fn decided(value: &Value, holds: bool) -> Option<&Value> {
    if let Some(branches) = value["Fn::If"].as_array() {
        return decided(&branches[if holds { 1 } else { 2 }], holds);
    }
    (value["Ref"] != "AWS::NoValue").then_some(value)
}

/// The text of a literal, or the default of the parameter that an expression names.
fn text(value: &Value, templates: &Value) -> Option<String> {
    let value = match value["Ref"].as_str() {
        Some(parameter) => &templates["template"]["Parameters"][parameter]["Default"],
        None => value,
    };
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The Lambda functions, named by their binaries.
fn functions(templates: &Value, holds: bool) -> Vec<Program> {
    let found = resources(templates, "AWS::Serverless::Function").into_iter();
    found
        .map(|(_, function)| {
            let variables = function["Environment"]["Variables"].as_object().unwrap().iter();
            let variables = variables.filter_map(|(name, value)| {
                Some((name.clone(), text(decided(value, holds)?, templates)))
            });
            Program { name: binary_of(function).to_owned(), variables: variables.collect() }
        })
        .collect()
}

/// `accounts` of `../../target/lambda/arm64/accounts/bootstrap.zip`
fn binary_of(function: &Value) -> &str {
    function["CodeUri"].as_str().unwrap().rsplit('/').nth(1).unwrap()
}

/// Our containers, named by their commands.
fn containers(templates: &Value, holds: bool) -> Vec<Program> {
    let tasks = resources(templates, "AWS::ECS::TaskDefinition").into_iter();
    let containers = tasks.map(|(_, task)| &task["ContainerDefinitions"][0]);
    let ours = containers.filter(|container| container["Name"] != "nats");
    ours.map(|container| {
        let lists = [&container["Environment"], &container["Secrets"]];
        let variables = lists.into_iter().flat_map(|list| list.as_array().unwrap());
        let variables = variables.filter_map(|variable| decided(variable, holds)).map(|variable| {
            let name = variable["Name"].as_str().unwrap().to_owned();
            (name, text(&variable["Value"], templates))
        });
        let name = container["Command"][0].as_str().unwrap().to_owned();
        Program { name, variables: variables.collect() }
    })
    .collect()
}

/// A valid value of a variable whose real value only AWS knows.
fn sample(name: &str, signing_key: &str) -> String {
    match name {
        "DATABASE_URL" => "postgres://chat_app@db.example/chat".to_owned(),
        "DATABASE_CA" => "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----".to_owned(),
        "NATS_URL" => "nats://nats.example:4222".to_owned(),
        "NATS_CREDS" => "-----BEGIN NATS USER JWT-----\n-----END NATS USER JWT-----".to_owned(),
        "SIGNING_KEY" => signing_key.to_owned(),
        "VERIFICATION_KEYS" => secrets::public_key(signing_key).unwrap(),
        "PUBLIC_URL" | "GATEWAY_URL" | "JWKS_URL" | "ALLOWED_ORIGINS" => {
            "https://chat.example".to_owned()
        }
        _ => "text".to_owned(),
    }
}

impl Program {
    /// Reads the program's configuration from its variables. Returns the faults, and the variables that are not read.
    fn faults(&self) -> Vec<String> {
        let key = secrets::generate_key().unwrap();
        let asked = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            let secret = self.variables.get(&format!("{name}_ARN"));
            let value = self.variables.get(name).or(secret)?;
            Some(value.clone().unwrap_or_else(|| sample(name, &key)))
        };
        let result = Env::read(lookup, |env| read(&self.name, env));
        let faults = result.err().map(|faults| format!("{}: {faults}", self.name));
        let asked = asked.into_inner();
        let is_read =
            |name: &str| asked.contains(name) || asked.contains(name.trim_end_matches("_ARN"));
        let unread = self.variables.keys().filter(|name| !is_read(name));
        let unread = unread.map(|name| format!("{} does not read {name}", self.name));
        unread.chain(faults).collect()
    }
}

/// Reads the configuration of a program as its `main` does.
fn read(name: &str, env: &mut Env<'_>) -> Option<()> {
    TelemetryConfig::from_env(env);
    if let Some(function) = Function::ALL.into_iter().find(|function| function.name() == name) {
        return match function.needs() {
            None => Site::from_env(env).map(drop),
            Some(needs) => api::Config::for_function(env, needs).map(drop),
        };
    }
    match name {
        "archive" => archive::Config::from_env(env).map(drop),
        "uploads" => uploads::Config::from_env(env).map(drop),
        "provision" => {
            let parts = [provision::Part::Database, provision::Part::Nats];
            provision::Config::of_parts(&parts, env).map(drop)
        }
        "gateway" => {
            serve::Limits::from_env(env);
            gateway::Config::from_env(env).map(drop)
        }
        _ => {
            env.fault("no program has this name");
            None
        }
    }
}

#[test]
fn functions_and_tasks_have_the_variables_that_they_read() {
    let templates = templates();
    let all = [false, true].into_iter().flat_map(|holds| {
        let programs = [functions(&templates, holds), containers(&templates, holds)];
        programs.into_iter().flatten().collect::<Vec<_>>()
    });
    let faults: Vec<String> = all.flat_map(|program| program.faults()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The function that API Gateway chooses: by method and path, by path, or the default.
fn chosen<'a>(routes: &BTreeMap<String, &'a str>, method: &str, path: &str) -> Option<&'a str> {
    let keys = [format!("{method} {path}"), format!("ANY {path}"), "$default".to_owned()];
    keys.iter().find_map(|key| routes.get(key)).copied()
}

/// The routes of the HTTP API, with the binaries of their functions.
fn routes(templates: &Value) -> BTreeMap<String, &str> {
    let mut routes = BTreeMap::new();
    for (_, function) in resources(templates, "AWS::Serverless::Function") {
        let events = function["Events"].as_object().into_iter().flatten();
        for (_, event) in events.filter(|(_, event)| event["Type"] == "HttpApi") {
            let event = &event["Properties"];
            let key = match (event["Method"].as_str(), event["Path"].as_str()) {
                (Some(method), Some(path)) => format!("{method} {path}"),
                _ => "$default".to_owned(),
            };
            let known = routes.insert(key.clone(), binary_of(function));
            assert_eq!(known, None, "{key} is in two functions");
        }
    }
    routes
}

#[test]
fn every_route_reaches_its_function() {
    let templates = templates();
    let routes = routes(&templates);
    let mut faults = Vec::new();
    let mut known = BTreeSet::from(["$default".to_owned()]);
    for function in Function::ALL {
        for (method, path) in function.routes() {
            let found = chosen(&routes, method.as_str(), &path);
            if found != Some(function.name()) {
                faults.push(format!("{method} {path} reaches {found:?}, not {}", function.name()));
            }
            known.extend([format!("{method} {path}"), format!("ANY {path}")]);
        }
    }
    let unknown = routes.keys().filter(|route| !known.contains(*route));
    faults.extend(unknown.map(|route| format!("no function has the route {route}")));
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_function_is_built_and_every_parameter_documented() {
    let templates = templates();
    let (makefile, readme) = (file("Makefile"), file("infra/aws/README.md"));
    let functions = functions(&templates, true);
    let binaries = functions.iter().map(|function| format!("--bin {}", function.name));
    let unbuilt: Vec<String> = binaries.filter(|binary| !makefile.contains(binary)).collect();
    assert!(unbuilt.is_empty(), "`make lambda` does not build {unbuilt:?}");
    let sections = ["Parameters", "Outputs"].map(|name| &templates["template"][name]);
    let names = sections.into_iter().flat_map(|section| section.as_object().unwrap().keys());
    let missing: Vec<&String> =
        names.filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "infra/aws/README.md does not document {missing:?}");
}

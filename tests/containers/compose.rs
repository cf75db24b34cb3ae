//! Commands of Docker Compose on the project that `run.sh` started.

use std::{
    collections::BTreeMap,
    env, fs,
    process::{Command, Output},
};

use serde_json::Value;
use stories::eventually;

pub struct Compose {
    /// The program and its options, as the environment variable COMPOSE lists them.
    command: Vec<String>,
    port: String,
    storage_port: String,
    env_file: String,
}

impl Compose {
    /// The running project. `run.sh` sets the environment variables.
    pub fn running() -> Self {
        let variable = |name| {
            env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make compose-test`"))
        };
        Self {
            command: variable("COMPOSE").split(' ').map(str::to_owned).collect(),
            port: variable("CHAT_PORT"),
            storage_port: variable("CHAT_S3_PORT"),
            env_file: variable("SECRETS_FILE"),
        }
    }

    /// The address of the reverse proxy.
    pub fn address(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The address of the S3 server.
    pub fn storage_address(&self) -> String {
        format!("http://localhost:{}", self.storage_port)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(arguments);
        command
    }

    /// Runs a command and returns its output. Panics if it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(arguments, self.command(arguments).output().unwrap())
    }

    /// Starts all services and waits until they are healthy.
    pub fn up(&self) {
        self.run(&["up", "--detach", "--wait", "--no-build"]);
    }

    /// State and health of each service's container.
    pub fn states(&self) -> BTreeMap<String, (String, String)> {
        let lines = self.run(&["ps", "--all", "--format", "json"]);
        let containers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |container: &Value, name: &str| container[name].as_str().unwrap().to_owned();
        containers
            .map(|container| {
                let state = (text(&container, "State"), text(&container, "Health"));
                (text(&container, "Service"), state)
            })
            .collect()
    }

    /// Waits until a service is healthy.
    pub async fn healthy(&self, service: &str) {
        let healthy = || async { (self.states()[service].1 == "healthy").then_some(()) };
        eventually(&format!("{service} to be healthy"), healthy).await;
    }

    /// One value of the file of secrets.
    pub fn secret(&self, name: &str) -> String {
        self.secrets().into_iter().find(|(other, _)| other == name).unwrap().1
    }

    /// All values of the file of secrets.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let file = fs::read_to_string(&self.env_file).unwrap();
        let secrets: Vec<_> = file
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), secret_part(value).to_owned()))
            .collect();
        assert!(secrets.len() >= 16, "{} secrets", secrets.len());
        secrets
    }
}

/// The value, or for a PEM file in one line the encoded key.
fn secret_part(value: &str) -> &str {
    value.split("\\n").nth(1).unwrap_or(value)
}

fn output(arguments: &[&str], output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "compose {}: {}\n{}",
        arguments.join(" "),
        output.status,
        text(&output.stderr)
    );
    text(&output.stdout)
}

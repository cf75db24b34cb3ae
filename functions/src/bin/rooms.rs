//! `rooms` as an AWS Lambda function.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::serve::run(functions::lambda::run(functions::rooms::router()))
}

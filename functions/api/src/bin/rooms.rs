//! `rooms` as an AWS Lambda function.

use std::process::ExitCode;

use api::function::Function;

fn main() -> ExitCode {
    service::serve::run(api::lambda::run(Function::Rooms))
}

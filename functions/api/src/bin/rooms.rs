//! `rooms` as an AWS Lambda function.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::serve::run(api::lambda::run(api::rooms_resource()))
}

//! AWS X-Ray's header, which API Gateway, load balancers and Lambda add to requests.

use super::TraceParent;

/// Reads `X-Amzn-Trace-Id`, such as `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
/// Without a parent there is no context to continue.
pub fn parse_xray(header: &str) -> Option<TraceParent> {
    let field = |name: &str| {
        header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
    };
    // The trace's id in two parts: the time, and 96 random bits.
    let (time, random) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let flags = if field("Sampled") == Some("1") { "01" } else { "00" };
    format!("00-{time}{random}-{}-{flags}", field("Parent")?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_aws_is_a_context() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let expected = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        assert_eq!(parse_xray(header).unwrap().to_string(), expected);
        let unsampled = header.replace("Sampled=1", "Sampled=0;Lineage=a:0");
        assert!(!parse_xray(&unsampled).unwrap().is_sampled());
        for bad in [
            "",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988;Parent=53995c3f42cd8ad8",
        ] {
            assert_eq!(parse_xray(bad), None, "{bad}");
        }
    }
}

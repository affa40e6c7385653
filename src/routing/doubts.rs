//! What of an endpoint table is legal, but can never be met.

use std::collections::HashMap;

use super::template::{Part, Template};
use crate::domain::{Endpoint, Method, Problems};

/// Reports endpoints that no request can reach: rows for `ANY` method beside a row of the same shape for each
/// method, and paths that are longer than the edge accepts. Keys are `endpoints[INDEX].path`.
pub fn doubts(endpoints: &[Endpoint], max_target_bytes: usize, problems: &mut Problems) {
    let mut by_shape: HashMap<Vec<Part>, Vec<&Endpoint>> = HashMap::new();
    for endpoint in endpoints {
        let Ok(template) = Template::parse(&endpoint.template) else { continue };
        if shortest(&template.parts) > max_target_bytes {
            problems.add(
                format!("endpoints[{}].path", endpoint.index),
                "endpoint_unreachable",
                format!(
                    "no request can reach `{}`: `listen.max_target_bytes` is {max_target_bytes}",
                    endpoint.operation
                ),
                "raise `listen.max_target_bytes`, or remove the endpoint",
            );
        }
        by_shape.entry(template.parts).or_default().push(endpoint);
    }
    for rows in by_shape.values() {
        let has = |method: &Method| rows.iter().any(|row| row.method == Some(*method));
        let all_methods = Method::ALL.iter().filter(|method| **method != Method::Head).all(has);
        let any = rows.iter().find(|row| row.method.is_none());
        if let Some(endpoint) = any.filter(|_| all_methods) {
            problems.add(
                format!("endpoints[{}].path", endpoint.index),
                "endpoint_unreachable",
                format!(
                    "no request can reach `{}`: each method of `{}` has an endpoint of its own",
                    endpoint.operation, endpoint.template
                ),
                "remove it, or one of the others",
            );
        }
    }
}

/// The length of the shortest path that a template matches, in bytes.
fn shortest(parts: &[Part]) -> usize {
    let part = |part: &Part| match part {
        Part::Literal(text) => 1 + text.len(),
        Part::Parameter => 2,
        Part::Rest => 1,
    };
    parts.iter().map(part).sum()
}

//! The description of this surface, for machines: OpenAPI 3.1, written by hand and held against the code by tests.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// The document.
pub const DOCUMENT: &str = include_str!("../../openapi.json");

/// `GET /openapi.json`.
pub async fn document() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use counterfoil_merkle::{
        Hash, checkpoint::SignedCheckpoint, proof::ConsistencyProof, tlogproof::TlogProof,
    };
    use counterfoil_receipt::{Envelope, Id, bundle::Bundle};
    use serde_json::Value;

    use super::*;
    use crate::http::{
        error::{Class, PROBLEM_JSON, PROBLEM_TYPE},
        routes,
    };

    fn read() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Members of an object, by name.
    fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
        value
            .as_object()
            .unwrap_or_else(|| panic!("{value}"))
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// What a value is, or what its `$ref` leads to.
    fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        let Some(path) = value.get("$ref") else { return value };
        let path = path.as_str().unwrap().strip_prefix('#').unwrap();
        document.pointer(path).unwrap_or_else(|| panic!("{path} leads nowhere"))
    }

    /// All references of the document.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    /// A route that is served but not described, or described but not served, fails.
    #[test]
    fn paths_are_those_of_the_router() {
        let document = read();
        let served: BTreeSet<_> = routes()
            .iter()
            .map(|route| format!("{} {}", route.method, route.path.replace("{*", "{")))
            .collect();
        let described: BTreeSet<_> = members(&document["paths"])
            .flat_map(|(path, item)| {
                members(item).map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        assert_eq!(served, described);
        for (path, item) in members(&document["paths"]) {
            let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            let operation = members(item).next().unwrap().1;
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let given =
                parameters.iter().filter(|it| it["in"] == "path").map(|it| it["name"].as_str().unwrap());
            assert!(named.eq(given), "{path}");
        }
    }

    /// A class of problems without its example, or with another status or title, fails; so does one that no operation can
    /// answer, and one under the wrong status.
    #[test]
    fn problems_are_those_of_the_code() {
        let document = read();
        let examples: BTreeSet<_> = members(&document["components"]["examples"])
            .map(|(code, example)| {
                let value = &example["value"];
                assert_eq!(value["type"], format!("{PROBLEM_TYPE}{code}"));
                assert!(!value["detail"].as_str().unwrap().is_empty());
                (code, value["status"].as_u64().unwrap(), value["title"].as_str().unwrap())
            })
            .collect();
        let classes: BTreeSet<_> = Class::ALL
            .iter()
            .map(|class| (class.code(), u64::from(class.status().as_u16()), class.title()))
            .collect();
        assert_eq!(classes.len(), Class::ALL.len(), "a code twice");
        assert_eq!(examples, classes);
        let types =
            document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"].as_array().unwrap();
        let types: BTreeSet<_> = types.iter().map(|kind| kind.as_str().unwrap().to_owned()).collect();
        assert_eq!(types, classes.iter().map(|(code, ..)| format!("{PROBLEM_TYPE}{code}")).collect());

        let mut answered = BTreeSet::new();
        for (path, item) in members(&document["paths"]) {
            let responses = members(item).flat_map(|(_, operation)| members(&operation["responses"]));
            for (status, response) in responses.filter(|(status, _)| !status.starts_with('2')) {
                let content = &resolve(&document, response)["content"][PROBLEM_JSON];
                for (code, example) in members(&content["examples"]) {
                    let value = &resolve(&document, example)["value"];
                    assert_eq!(value["type"], format!("{PROBLEM_TYPE}{code}"));
                    assert!(
                        status == "default" || value["status"].as_u64() == status.parse().ok(),
                        "{path} {status} {code}"
                    );
                    answered.insert(code);
                }
            }
        }
        assert_eq!(answered, classes.iter().map(|(code, ..)| *code).collect());
    }

    /// Where an answer can be 401, a token can be shown, and nowhere else; the scheme is the one that there is.
    #[test]
    fn tokens_are_shown_where_they_are_asked_for() {
        let document = read();
        for (path, item) in members(&document["paths"]) {
            for (_, operation) in members(item) {
                let asks = operation["responses"].get("401").is_some();
                let expected = serde_json::json!([{}, { "token": [] }]);
                assert_eq!(operation.get("security"), asks.then_some(&expected), "{path}");
            }
        }
        let schemes: Vec<_> =
            members(&document["components"]["securitySchemes"]).map(|(name, _)| name).collect();
        assert_eq!(schemes, ["token"]);
    }

    /// References lead somewhere, and nothing is kept that none leads to.
    #[test]
    fn references_and_components_are_one_to_one() {
        let document = read();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let parts: Vec<_> = members(&document["components"])
            .filter(|(kind, _)| *kind != "securitySchemes") // named, not referred to
            .flat_map(|(kind, parts)| {
                members(parts).map(move |(name, _)| format!("#/components/{kind}/{name}"))
            })
            .filter(|name| !name.ends_with("/LineError")) // named in the text: lines have no schema
            .collect();
        found.remove("#/components/schemas/LineError");
        assert_eq!(found, parts.iter().map(String::as_str).collect());
    }

    /// The examples are real: signature, id, leaf, proofs and checkpoint of one small log fit together.
    #[test]
    fn examples_verify() {
        let document = read();
        let content = |path: &str, method: &str, part: &str| {
            let part = resolve(&document, &document["paths"][path][method][part]);
            let part = resolve(&document, part.get("200").unwrap_or(part));
            members(&part["content"]).next().unwrap().1["example"].clone()
        };
        let envelope = content("/v1/receipts", "post", "requestBody").to_string();
        let envelope = Envelope::parse(envelope.as_bytes()).unwrap().verify().unwrap();
        let appended = content("/v1/receipts", "post", "responses");
        assert_eq!(appended["id"].as_str().unwrap().parse::<Id>().unwrap(), envelope.id());
        let leaf = Hash::leaf(appended["entry"].as_str().unwrap().as_bytes());
        assert_eq!(appended["leaf"], leaf.to_string());
        assert_eq!(content("/v1/receipts/batch", "post", "responses").as_str().unwrap().lines().count(), 2);

        let bundle = content("/v1/receipts/{id}", "get", "responses").to_string();
        let bundle = Bundle::parse(bundle.as_bytes()).unwrap();
        assert_eq!(bundle.entry.leaf_hash(), leaf);
        assert_eq!(bundle.statement.unwrap(), envelope.envelope().statement_bytes());
        let proof: TlogProof = appended["proof"].as_str().unwrap().parse().unwrap();
        assert_eq!(bundle.proof.to_string(), proof.to_string());
        let checkpoint: SignedCheckpoint =
            content("/checkpoint", "get", "responses").as_str().unwrap().parse().unwrap();
        assert_eq!(proof.checkpoint().to_string(), checkpoint.to_string());

        let found = content("/v1/receipts", "get", "responses");
        let record = &found["records"][0];
        assert_eq!(found["checkpoint"].as_str().unwrap(), checkpoint.to_string());
        assert_eq!((&record["entry"], &record["leaf"]), (&appended["entry"], &appended["leaf"]));
        let hashes = record["hashes"].as_array().unwrap().iter();
        let hashes: Vec<_> = hashes.map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap()).collect();
        assert_eq!(hashes, proof.proof().hashes());
        assert_eq!(content("/v1/receipts/{id}/history", "get", "responses")["records"][0], *record);

        let inclusion = content("/v1/proofs/inclusion", "get", "responses");
        assert_eq!(inclusion["leaf"], leaf.to_string());
        let consistency = content("/v1/proofs/consistency", "get", "responses");
        let hashes = consistency["hashes"].as_array().unwrap().iter();
        let hashes = hashes.map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap()).collect();
        let size =
            |name: &str| counterfoil_merkle::TreeSize::new(consistency[name].as_u64().unwrap()).unwrap();
        let first = Hash::from_base64(inclusion["hashes"][0].as_str().unwrap()).unwrap();
        let root = inclusion["root"].as_str().unwrap().parse().unwrap();
        let grown = ConsistencyProof::new(size("from"), size("to"), hashes).unwrap();
        grown.verify(first, root).unwrap();
    }
}

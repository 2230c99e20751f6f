//! Wrong methods, wrong paths, wrong parameters.

use super::dice::Dice;

/// A request without a body, the route of the document that it meets (none: no such address), and the code that is due.
pub(super) struct Address {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) route: Option<&'static str>,
    pub(super) due: &'static [&'static str],
}

const PARAMETER: &[&str] = &["parameter"];
const NOT_FOUND: &[&str] = &["not-found"];

/// Routes, with an address that each takes.
const ROUTES: &[(&str, &str)] = &[
    ("/v1/receipts", "/v1/receipts"),
    ("/v1/receipts/batch", "/v1/receipts/batch"),
    ("/v1/entries/{index}", "/v1/entries/0"),
    ("/v1/proofs/inclusion", "/v1/proofs/inclusion?index=0"),
    ("/v1/proofs/consistency", "/v1/proofs/consistency?from=0&to=1"),
    ("/checkpoint", "/checkpoint"),
    ("/tile/{level}/{path}", "/tile/0/000.p/1"),
    ("/tile/entries/{path}", "/tile/entries/000.p/1"),
    ("/statement/{path}", "/statement/000.p/1"),
    ("/openapi.json", "/openapi.json"),
    ("/v1/overdue", "/v1/overdue"),
    ("/healthz", "/healthz"),
    ("/readyz", "/readyz"),
    ("/metrics", "/metrics"),
];

pub(super) fn wrong_method(dice: &mut Dice) -> Address {
    let &(route, path) = dice.pick(ROUTES);
    let taken = match path {
        // Read and written.
        "/v1/receipts" => "PUT",
        "/v1/receipts/batch" => "GET",
        _ => "POST",
    };
    let method =
        *dice.pick(&[taken, "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW", "M-SEARCH"]);
    Address { method, path: path.to_owned(), route: Some(route), due: &["method"] }
}

pub(super) fn wrong_path(dice: &mut Dice) -> Address {
    let path = match dice.below(12) {
        0 => format!("/{}", escaped(dice, 20)),
        1 => format!("/v1/{}", escaped(dice, 20)),
        2 => format!("//{}", "a/".repeat(dice.below(2000))),
        n => {
            let known = [
                "/v1/receipts/",
                "/v1/entries/",
                "/checkpoint/",
                "//checkpoint",
                "/checkpoint%2f",
                "/v1",
                "/tile/0",
                "/Metrics",
                "/v1/receipts/00/00",
            ];
            known[n - 3].to_owned()
        }
    };
    Address { method: "GET", path, route: None, due: NOT_FOUND }
}

/// Bytes of any value as they may stand in a path: each escaped.
fn escaped(dice: &mut Dice, length: usize) -> String {
    dice.rubbish(length).iter().map(|byte| format!("%{byte:02x}")).collect()
}

pub(super) fn wrong_tile(dice: &mut Dice) -> Address {
    let routes = [
        ("/tile/{level}/{path}", "/tile/0/"),
        ("/tile/entries/{path}", "/tile/entries/"),
        ("/statement/{path}", "/statement/"),
    ];
    let &(route, before) = dice.pick(&routes);
    let names = [
        "0",
        "00",
        "0000",
        "-01",
        "000.p/0",
        "000.p/256",
        "000.p/01",
        "000.p/",
        "000.p/-1",
        "000.p/1/2",
        "000/1",
        "x000/000",
        "x001",
        "x999/999",
        "x999/x999/x999/999",
        "x999/x999/x999/x999/x999/x999/x999/999",
        "abc",
        "000%00",
        "..%2f..%2fguard",
        "../../keys/log.key",
        "%2e%2e/keys/log.key",
        "000.p/99999999999999999999",
    ];
    if dice.below(8) == 0 {
        let level = *dice.pick(&["-1", "6", "64", "256", "00", "a", "%00", "18446744073709551616"]);
        return Address {
            method: "GET",
            path: format!("/tile/{level}/000"),
            route: Some(ROUTES[6].0),
            due: NOT_FOUND,
        };
    }
    if dice.below(8) == 0 {
        return Address { method: "GET", path: format!("{before}%ff"), route: Some(route), due: PARAMETER };
    }
    Address {
        method: "GET",
        path: format!("{before}{}", dice.pick(&names)),
        route: Some(route),
        due: NOT_FOUND,
    }
}

pub(super) fn wrong_parameter(dice: &mut Dice) -> Address {
    let hex: String = dice.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let long = "f".repeat(dice.below(3000) + 65);
    let (id, index, leaf) = ("/v1/receipts/{id}", "/v1/entries/{index}", "/v1/leaves/{leaf}");
    let (inclusion, consistency) = ("/v1/proofs/inclusion", "/v1/proofs/consistency");
    let (search, overdue) = ("/v1/receipts", "/v1/overdue");
    let cases: &[(&'static str, String, &'static [&'static str])] = &[
        (id, hex.clone(), NOT_FOUND),
        (id, hex[..32].to_owned(), NOT_FOUND),
        (id, hex[..33].to_owned(), PARAMETER),
        (id, hex[..30].to_owned(), PARAMETER),
        (id, format!("{}A", &hex[..63]), PARAMETER),
        (id, format!("{}g", &hex[..63]), PARAMETER),
        (id, long.clone(), PARAMETER),
        (id, escaped(dice, 40).replace("%2f", "%2e"), PARAMETER),
        (id, "%f0%9f%98%80".repeat(8), PARAMETER),
        (index, "-1".to_owned(), PARAMETER),
        (index, "01".to_owned(), PARAMETER),
        (index, "+1".to_owned(), PARAMETER),
        (index, "1e3".to_owned(), PARAMETER),
        (index, "%31%00".to_owned(), PARAMETER),
        (index, "18446744073709551616".to_owned(), PARAMETER),
        (index, "18446744073709551615".to_owned(), NOT_FOUND),
        (index, "1099511627776".to_owned(), NOT_FOUND),
        (index, "1099511627775".to_owned(), NOT_FOUND),
        (leaf, hex.clone(), NOT_FOUND),
        (leaf, hex[..32].to_owned(), PARAMETER),
        (leaf, long.clone(), PARAMETER),
        (leaf, "%ff".to_owned(), PARAMETER),
        (inclusion, String::new(), PARAMETER),
        (inclusion, "index=0&index=0".to_owned(), PARAMETER),
        (inclusion, format!("index=0&leaf={hex}"), PARAMETER),
        (inclusion, format!("id={hex}&leaf={hex}"), PARAMETER),
        (inclusion, format!("id={hex}"), NOT_FOUND),
        (inclusion, format!("leaf={hex}&size=1"), NOT_FOUND),
        (inclusion, "index=".to_owned(), PARAMETER),
        (inclusion, "index=%ff".to_owned(), PARAMETER),
        (inclusion, "index=0&size=-1".to_owned(), PARAMETER),
        (inclusion, "index=0&size=0".to_owned(), NOT_FOUND),
        (inclusion, "index=0&size=18446744073709551615".to_owned(), NOT_FOUND),
        (inclusion, "size=1".to_owned(), PARAMETER),
        (inclusion, "Index=0".to_owned(), PARAMETER),
        (inclusion, format!("index=0&{long}=1"), PARAMETER),
        (consistency, String::new(), PARAMETER),
        (consistency, "from=0".to_owned(), PARAMETER),
        (consistency, "from=1&to=0".to_owned(), PARAMETER),
        (consistency, "from=0&to=1&to=1".to_owned(), PARAMETER),
        (consistency, "from=a&to=b".to_owned(), PARAMETER),
        (consistency, "from=0&to=1099511627776".to_owned(), NOT_FOUND),
        (consistency, "from=0&to=99999999999999999999".to_owned(), PARAMETER),
        (search, format!("cursor={hex}"), &["cursor"]),
        (search, "cursor=".to_owned(), &["cursor"]),
        (search, format!("cursor={long}"), &["cursor"]),
        (search, format!("kind={long}"), PARAMETER),
        (search, "kind=receipt&kind=receipt".to_owned(), PARAMETER),
        (search, "number=1".to_owned(), PARAMETER),
        (search, "limit=0".to_owned(), PARAMETER),
        (search, "limit=101".to_owned(), PARAMETER),
        (search, format!("issuer={hex}"), PARAMETER),
        (search, "from=-1".to_owned(), PARAMETER),
        (search, "order=sideways".to_owned(), PARAMETER),
        (search, format!("{long}=1"), PARAMETER),
        (overdue, "at=yesterday".to_owned(), PARAMETER),
        (overdue, format!("cursor={hex}"), &["cursor"]),
    ];
    let (route, value, due) = dice.pick(cases);
    let path = match route.split_once('{') {
        Some((before, _)) => format!("{before}{value}"),
        None => format!("{route}?{value}"),
    };
    Address { method: "GET", path, route: Some(route), due }
}

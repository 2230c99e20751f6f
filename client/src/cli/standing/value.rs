//! What stands, for programs.

use counterfoil_receipt::standing::{print_matter, print_standing};
use serde_json::{Value, json};

use super::Stands;

/// Everything that stands in each log.
pub(super) fn print(logs: &[Stands]) -> anyhow::Result<Value> {
    let logs = logs.iter().map(|stands| {
        let Stands { origin, docket, standing, head, withheld } = stands;
        let mut value: Value = serde_json::from_str(&print_standing(standing, docket))?;
        value["log"] = origin.as_str().into();
        value["matter"] = serde_json::from_str(&print_matter(docket.matter()))?;
        value["signed"] = json!({ "size": head.size.get(), "root": head.root.to_string() });
        value["statements_withheld"] = (*withheld).into();
        Ok(value)
    });
    Ok(json!({ "logs": logs.collect::<anyhow::Result<Vec<_>>>()? }))
}

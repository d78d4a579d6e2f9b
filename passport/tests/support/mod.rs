//! The part of JSON Schema that the schemas of this crate use, and no more: an unknown keyword is an error.

use serde_json::Value;

/// What does not fit, each with its place in the document.
pub(crate) fn mismatches(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, document, "$", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else {
        return found.push(format!("{at}: the schema is no object"));
    };
    for (keyword, rule) in keywords {
        let fits = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "required" | "additionalProperties" => {
                true
            }
            "$ref" => {
                let pointer = rule.as_str().and_then(|reference| reference.strip_prefix('#'));
                match pointer.and_then(|pointer| root.pointer(pointer)) {
                    Some(target) => check(root, target, value, at, found),
                    None => found.push(format!("{at}: {rule} leads nowhere")),
                }
                true
            }
            "anyOf" => elements(rule).iter().any(|choice| {
                let mut inner = Vec::new();
                check(root, choice, value, at, &mut inner);
                inner.is_empty()
            }),
            "const" => rule == value,
            "enum" => elements(rule).contains(value),
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| has_type(name, value)),
                name => has_type(name, value),
            },
            "minimum" => value.as_u64().is_none_or(|number| Some(number) >= rule.as_u64()),
            "pattern" => rule == "^0x[0-9a-f]+$" && value.as_str().is_none_or(is_hex),
            "items" => {
                for (number, item) in elements(value).iter().enumerate() {
                    check(root, rule, item, &format!("{at}[{number}]"), found);
                }
                true
            }
            "properties" => true,
            _ => false,
        };
        if !fits {
            found.push(format!("{at}: {value} against {keyword} {rule}"));
        }
    }
    if let Some(object) = value.as_object() {
        check_members(root, schema, object, at, found);
    }
}

fn check_members(
    root: &Value,
    schema: &Value,
    object: &serde_json::Map<String, Value>,
    at: &str,
    found: &mut Vec<String>,
) {
    for name in elements(&schema["required"]).iter().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(rule), _) => check(root, rule, member, &at, found),
            (None, Value::Bool(false)) => found.push(format!("{at}: unexpected")),
            (None, rule @ Value::Object(_)) => check(root, rule, member, &at, found),
            (None, _) => {}
        }
    }
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

fn is_hex(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

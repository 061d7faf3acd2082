//! JSON with secrets in it, on its way to be sealed or just opened: written once into room of its own size, so that no
//! growing buffer leaves copies behind, and wiped (law 10).

use serde_json::{Map, Value};
use std::io::{self, Write};
use zeroize::{Zeroize, Zeroizing};

/// As text; the value is wiped.
pub(crate) fn text(mut value: Value) -> Zeroizing<Vec<u8>> {
    let mut length = Length(0);
    // Counting cannot fail, and neither can writing into memory: keys are text, and numbers are finite.
    let _ = serde_json::to_writer(&mut length, &value);
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    let _ = serde_json::to_writer(&mut *text, &value);
    wipe(&mut value);
    text
}

/// Overwrites every text in it.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(entries) => entries.iter_mut().for_each(wipe),
        Value::Object(members) => wipe_all(members),
        _ => {}
    }
}

/// The same for the members of an object.
pub(crate) fn wipe_all(members: &mut Map<String, Value>) {
    members.values_mut().for_each(wipe);
}

struct Length(usize);

impl Write for Length {
    fn write(&mut self, some: &[u8]) -> io::Result<usize> {
        self.0 += some.len();
        Ok(some.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn law_10_it_is_written_without_growing_and_wiped() {
        let mut value = json!({"a": ["canary", {"b": "cänary\n"}], "c": 1.5});
        let written = text(value.clone());
        assert_eq!(written.as_slice(), value.to_string().as_bytes());
        assert_eq!(written.capacity(), written.len());
        wipe(&mut value);
        assert_eq!(value, json!({"a": ["", {"b": ""}], "c": 1.5}));
    }
}

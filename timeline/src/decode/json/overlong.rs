//! Numbers that no double can hold → the same in quotes, so that such a one is odd, or infinite, in its
//! own field, where the reader of JSON would give up the body.
//!
//! It is looked for only in a body that could not be read: that costs a second reading of what was going
//! to be refused, and a good body nothing.

/// The text with each such number in quotes; `None` where there is none.
pub(super) fn quoted(text: &str) -> Option<String> {
    let mut quoted = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        let is_number = byte == b'-' || byte.is_ascii_digit();
        let end = match byte {
            b'"' => after_string(bytes, at),
            _ if is_number => after_number(bytes, at),
            _ => at + 1,
        };
        if is_number && text[at..end].parse::<f64>().is_ok_and(f64::is_infinite) {
            quoted.push_str(&text[copied..at]);
            quoted.push('"');
            quoted.push_str(&text[at..end]);
            quoted.push('"');
            copied = end;
        }
        at = end;
    }
    quoted.push_str(&text[copied..]);
    (copied > 0).then_some(quoted)
}

/// Where the string that begins at `at` is over.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += 1;
        match bytes.get(at) {
            Some(b'\\') => at += 1,
            Some(b'"') => return at + 1,
            Some(_) => {}
            None => return bytes.len(),
        }
    }
}

/// Where the number that begins at `at` is over.
fn after_number(bytes: &[u8], at: usize) -> usize {
    let is_of_it = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    at + bytes[at..].iter().take_while(|byte| is_of_it(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_large_is_quoted() {
        let digits = "9".repeat(400);
        for (text, expected) in [
            (r#"{"a":1e999,"b":-1E+999}"#, Some(r#"{"a":"1e999","b":"-1E+999"}"#)),
            (r#"{"a":1e308,"b":"1e999","\"1e999":[]}"#, None),
            (r#"[1e-999,1e,-,"1e999"#, None),
            ("é \"é\\", None),
            (&format!("[{digits}]"), Some(&*format!("[\"{digits}\"]"))),
        ] {
            assert_eq!(quoted(text).as_deref(), expected, "{text}");
        }
    }
}

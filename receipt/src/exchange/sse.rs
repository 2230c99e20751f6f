//! Server-sent events, as far as inference services use them (WHATWG HTML, 9.2).

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty if it gave none.
    pub kind: String,
    /// Its data; several lines are joined with line feeds.
    pub data: String,
}

/// The events of a stream, in order. Comments, other fields and lines that are no UTF-8 are left out.
///
/// Other than the specification wants, an event that the stream breaks off in counts: a service may leave out the last blank
/// line, and what is cut in the middle will not parse.
pub fn events(stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut event = Event::default();
    let mut has_data = false;
    for line in lines(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)) {
        if line.is_empty() {
            let ended = std::mem::take(&mut event);
            if std::mem::take(&mut has_data) {
                events.push(ended);
            }
            continue;
        }
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.kind),
            "data" => {
                if has_data {
                    event.data.push('\n');
                }
                event.data.push_str(value);
                has_data = true;
            }
            _ => {}
        }
    }
    if has_data {
        events.push(event);
    }
    events
}

/// Lines that end in LF, CR or CRLF.
fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (line, rest) = text.split_at(end.unwrap_or(text.len()));
        text = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(stream: &[u8]) -> Vec<String> {
        events(stream).into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn events_are_told_apart() {
        let stream = b": comment\n\nevent: ping\ndata: {}\n\ndata:one\ndata: two\nid: 7\n\n\nevent: nothing\n\ndata: [DONE]\n\n";
        let found = events(stream);
        assert_eq!(found[0], Event { kind: "ping".to_owned(), data: "{}".to_owned() });
        assert_eq!(found[1], Event { kind: String::new(), data: "one\ntwo".to_owned() });
        assert_eq!(found[2].data, "[DONE]");
        assert_eq!(found.len(), 3);
    }

    /// Any kind of line end gives the same events.
    #[test]
    fn line_ends_make_no_difference() {
        let stream = "\u{feff}data: a\n\ndata: b\ndata\n\ndata: c\n\n";
        let expected = ["a", "b\n", "c"];
        for end in ["\n", "\r", "\r\n"] {
            assert_eq!(data(stream.replace('\n', end).as_bytes()), expected);
        }
    }

    #[test]
    fn a_broken_end_is_kept_and_bytes_that_are_no_text_are_not() {
        assert_eq!(data(b"data: a\n\ndata: [DON"), ["a", "[DON"]);
        assert_eq!(data(b"data: \xff\n\ndata: b\n\n"), ["b"]);
        assert_eq!(data(b""), Vec::<String>::new());
    }
}

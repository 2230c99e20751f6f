//! Server-sent events, as far as inference services use them (WHATWG HTML, 9.2), read as the stream comes in.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty if it gave none.
    pub kind: String,
    /// Its data; several lines are joined with line feeds.
    pub data: String,
    /// Whether it was longer than is read, so that only its start is here.
    pub cut: bool,
}

/// Reads events out of a stream that comes in pieces, however they are cut. Holds one event at most, and of that no more than
/// its limit.
///
/// Comments, other fields and lines that are no UTF-8 are left out. Other than the specification wants, an event that the
/// stream breaks off in counts: a service may leave out the last blank line, and what is cut in the middle will not parse.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes_max: usize,
    line: Vec<u8>,
    line_is_cut: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    is_first_line: bool,
    event: Event,
    has_data: bool,
}

impl Reader {
    /// A reader that keeps at most `bytes_max` bytes of a line, and of the data of an event.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            line: Vec::new(),
            line_is_cut: false,
            after_return: false,
            is_first_line: true,
            event: Event::default(),
            has_data: false,
        }
    }

    /// Reads on; `each` gets every event that ends in these bytes.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Event)) {
        while let [first, ..] = bytes {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.keep(bytes);
            };
            self.keep(&bytes[..end]);
            self.after_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(each);
        }
    }

    /// The stream ended: `each` gets the event it broke off in, if any.
    pub fn finish(mut self, each: &mut dyn FnMut(Event)) {
        if !self.line.is_empty() {
            self.end_line(each);
        }
        self.end_event(each);
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.line.len() + self.event.data.len()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.bytes_max - self.line.len();
        self.line_is_cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, each: &mut dyn FnMut(Event)) {
        let line = std::mem::take(&mut self.line);
        let is_cut = std::mem::take(&mut self.line_is_cut);
        let mut text = line.as_slice();
        if std::mem::take(&mut self.is_first_line) {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if text.is_empty() {
            return self.end_event(each);
        }
        match std::str::from_utf8(text) {
            Ok(text) => self.field(text, is_cut),
            // A cut may go through a character.
            Err(error) if is_cut => {
                let start = text.get(..error.valid_up_to()).and_then(|start| std::str::from_utf8(start).ok());
                self.field(start.unwrap_or_default(), true);
            }
            Err(_) => {}
        }
    }

    fn field(&mut self, line: &str, is_cut: bool) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                let separator = usize::from(self.has_data);
                self.event.cut |= is_cut;
                self.has_data = true;
                if self.event.data.len() + separator + value.len() > self.bytes_max {
                    self.event.cut = true;
                    return;
                }
                if separator == 1 {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
    }

    fn end_event(&mut self, each: &mut dyn FnMut(Event)) {
        let ended = std::mem::take(&mut self.event);
        if std::mem::take(&mut self.has_data) {
            each(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events of a stream that comes in pieces of that many bytes.
    fn events(stream: &[u8], piece: usize, bytes_max: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut reader = Reader::new(bytes_max);
        for piece in stream.chunks(piece) {
            reader.push(piece, &mut |event| events.push(event));
            assert!(reader.held() <= 2 * bytes_max);
        }
        reader.finish(&mut |event| events.push(event));
        events
    }

    fn data(stream: &[u8]) -> Vec<String> {
        events(stream, 3, 1000).into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn events_are_told_apart() {
        let stream = b": comment\n\nevent: ping\ndata: {}\n\ndata:one\ndata: two\nid: 7\n\n\nevent: nothing\n\ndata: [DONE]\n\n";
        let found = events(stream, 1, 1000);
        assert_eq!(found[0], Event { kind: "ping".to_owned(), data: "{}".to_owned(), cut: false });
        assert_eq!(found[1], Event { data: "one\ntwo".to_owned(), ..Event::default() });
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

    /// What is too long is cut, said to be, and held against nobody else.
    #[test]
    fn long_events_are_cut() {
        let long = "data: 0123456789\u{e9}\n\ndata: a\ndata: bcdefghij\ndata: k\n\ndata: c\n\n";
        let found = events(long.as_bytes(), 4, 17);
        let (texts, cuts): (Vec<_>, Vec<_>) = found.into_iter().map(|event| (event.data, event.cut)).unzip();
        assert_eq!(texts, ["0123456789", "a\nbcdefghij\nk", "c"]);
        assert_eq!(cuts, [true, false, false]);
        assert!(events(b"data: abcde\ndata: fghij\ndata: klmno\n\n", 100, 14)[0].cut);
    }

    proptest! {
        /// However a stream is cut into pieces, its events are the same.
        #[test]
        fn pieces_make_no_difference(
            stream in "(event: [a-c]|data: ?[a-c\u{e9}]{0,4}|:|id: 1|\r|\n|\r\n|\u{feff}){0,40}",
            piece in 1_usize..9,
            bytes_max in 3_usize..30,
        ) {
            let whole = events(stream.as_bytes(), stream.len().max(1), bytes_max);
            prop_assert_eq!(events(stream.as_bytes(), piece, bytes_max), whole);
        }
    }
}

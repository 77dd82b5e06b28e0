//! The documents of a text, one by one, so that a broken one takes nothing from the others.

use serde::de::{DeserializeSeed, IgnoredAny};
use serde_saphyr::DuplicateKeyPolicy;

use crate::error::{ManifestError, shown};

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Objects, one after the other.
    Json,
    /// Documents with `---` between them.
    Yaml,
}

impl Format {
    /// What a text looks like. With a line `---` it is YAML, whose documents may be JSON each.
    pub fn of(text: &[u8]) -> Self {
        let begins = |line: &[u8]| matches!(Line::of(line), Line::Begin { .. });
        let is_json = looks_like_json(without_mark(text)) && !text.split(|byte| *byte == b'\n').any(begins);
        if is_json { Self::Json } else { Self::Yaml }
    }
}

/// The most parts that aliases repeat in a text.
pub(crate) const MOST_REPEATED: usize = 200_000;

/// The same for a document of so many bytes: as many documents as fit into a text repeat not much more than it holds.
fn most_repeated(bytes: usize) -> usize {
    (4 * bytes).clamp(1_000, MOST_REPEATED)
}

/// How YAML is read, and what of it has bounds; `repeated` is the most parts that aliases may repeat.
pub(crate) fn yaml_options(repeated: usize, duplicate_keys: DuplicateKeyPolicy) -> serde_saphyr::Options {
    serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        budget: serde_saphyr::budget! {
            // The size was checked, and nothing is kept of most parts. A thousand pods have more than is allowed by default.
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            // What an anchor names is kept, in 100 bytes for each part.
            max_anchors: 1000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: repeated },
        // `yes` and `on` are what YAML 1.1 takes them for: so does kubectl (sigs.k8s.io/yaml).
        strict_booleans: false,
        with_snippet: false,
    }
}

/// One document of a text.
pub(crate) struct Document<'a> {
    format: Format,
    text: Result<&'a str, ManifestError>,
    /// What becomes of a key that stands there twice, in YAML.
    keys: DuplicateKeyPolicy,
    /// How many lines stand before it.
    pub(crate) before: usize,
    /// The line of the text, from 1, on which its content begins.
    pub(crate) line: usize,
}

impl<'a> Document<'a> {
    fn new(format: Format, text: &'a [u8], before: usize, line: usize) -> Self {
        let text = str::from_utf8(text).map_err(|_invalid| ManifestError::NotText);
        Self { format, text, keys: DuplicateKeyPolicy::Error, before, line }
    }

    /// The same document where a key that stands there twice counts once: the first one does.
    pub(crate) fn with_first_keys(&self) -> Self {
        Self { keys: DuplicateKeyPolicy::FirstWins, text: self.text.clone(), ..*self }
    }

    /// What the document comes to. The lines in what is wrong with it are those of the whole text.
    pub(crate) fn read<S: DeserializeSeed<'a>>(&self, seed: S) -> Result<S::Value, ManifestError> {
        let text = self.text.clone()?;
        match self.format {
            Format::Json => {
                let mut json = serde_json::Deserializer::from_str(text);
                seed.deserialize(&mut json).map_err(|error| malformed_json(&error, self.before))
            }
            Format::Yaml => {
                let options = yaml_options(most_repeated(text.len()), self.keys);
                serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
                    seed.deserialize(yaml)
                })
                .map_err(|error| malformed_yaml(&error, self.before))
            }
        }
    }
}

/// The documents of a text that hold anything.
pub(crate) fn of(text: &[u8], format: Format) -> Box<dyn Iterator<Item = Document<'_>> + '_> {
    let text = without_mark(text);
    match format {
        Format::Json => Box::new(JsonObjects { text, done: 0, before: 0 }),
        Format::Yaml => Box::new(Pieces { rest: text, before: 0 }.flat_map(each)),
    }
}

/// The objects of a document that is JSON, or the document itself.
fn each(piece: Piece<'_>) -> impl Iterator<Item = Document<'_>> {
    let json = piece.json();
    let yaml = json.is_none().then(|| Document::new(Format::Yaml, piece.text, piece.before, piece.line));
    json.into_iter().flatten().chain(yaml)
}

/// Whether a text begins with an object of JSON: YAML, too, and templates begin with braces.
fn looks_like_json(text: &[u8]) -> bool {
    let inner = text.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| inner.first().is_none_or(|byte| b"\"}".contains(byte)))
}

/// One document of YAML.
struct Piece<'a> {
    text: &'a [u8],
    /// How many lines stand before it.
    before: usize,
    /// The line of the text, from 1, on which its content begins.
    line: usize,
}

impl<'a> Piece<'a> {
    /// Its objects, if it is JSON.
    fn json(&self) -> Option<JsonObjects<'a>> {
        let (mut at, mut number) = (0, self.before);
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            match Line::of(line) {
                Line::Nothing | Line::Begin { holds: false } => {}
                Line::Begin { holds: true } => {
                    at += b"---".len();
                    break;
                }
                Line::Content => break,
                Line::Directive | Line::End => return None,
            }
            at += line.len();
            number += 1;
        }
        let text = self.text.get(at..).filter(|text| looks_like_json(text))?;
        let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
        stream.next()?.ok()?;
        let rest = text.get(stream.byte_offset()..)?.trim_ascii_start();
        // What follows a whole object may be a comment.
        (rest.is_empty() || rest.starts_with(b"{")).then_some(JsonObjects { text, done: 0, before: number })
    }
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

fn malformed_json(error: &serde_json::Error, before: usize) -> ManifestError {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    match text.strip_suffix(&place) {
        Some(what) => ManifestError::malformed(&format_args!(
            "{what} at line {} column {}",
            before + error.line(),
            error.column()
        )),
        None => ManifestError::malformed(&text),
    }
}

fn malformed_yaml(error: &serde_saphyr::Error, before: usize) -> ManifestError {
    if let serde_saphyr::Error::DuplicateMappingKey { key, location } = error {
        return ManifestError::Twice {
            key: key.as_deref().map(shown),
            line: before as u64 + location.line(),
        };
    }
    let options = serde_saphyr::render_options! { line_offset: before as u64 };
    ManifestError::malformed(&error.render_with_options(options))
}

/// JSON objects. Where one ends is known only if it is whole, so a broken one takes in all that follows.
struct JsonObjects<'a> {
    text: &'a [u8],
    done: usize,
    /// How many lines stand before what isn't done.
    before: usize,
}

impl<'a> Iterator for JsonObjects<'a> {
    type Item = Document<'a>;

    fn next(&mut self) -> Option<Document<'a>> {
        let rest = self.text.get(self.done..)?;
        let begin = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let (blank, rest) = rest.split_at(begin);
        let before = self.before + lines(blank);
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        let end = match stream.next() {
            Some(Ok(_)) => stream.byte_offset(),
            Some(Err(_)) | None => rest.len(),
        };
        let object = rest.get(..end).unwrap_or(rest);
        self.done += begin + end;
        self.before = before + lines(object);
        Some(Document::new(Format::Json, object, before, before + 1))
    }
}

/// YAML documents. A line that begins with `---` or `...` ends one wherever it stands, be it within a text (YAML 1.2.2,
/// 9.1.2), so that nothing in a broken document hides where the next one begins.
struct Pieces<'a> {
    rest: &'a [u8],
    /// How many lines stand before the rest.
    before: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (text, before) = (self.rest, self.before);
        let (mut begin, mut begin_line) = (0, before);
        let (mut at, mut line) = (0, before);
        // The line on which content was seen, and whether the document was begun by `---`.
        let (mut content, mut begun) = (None, false);
        for written in text.split_inclusive(|byte| *byte == b'\n') {
            let (here, number) = (at, line);
            at += written.len();
            line += 1;
            match Line::of(written) {
                Line::Begin { .. } if content.is_some() => {
                    return self.cut(begin..here, number, begin_line, content);
                }
                Line::Begin { holds } => {
                    // What stands before it belongs to it if that is no document of its own: directives.
                    if begun {
                        (begin, begin_line) = (here, number);
                    }
                    begun = true;
                    content = holds.then_some(number);
                }
                Line::End if content.is_some() => return self.cut(begin..here, number, begin_line, content),
                Line::End => {
                    (begin, begin_line) = (at, line);
                    begun = false;
                }
                Line::Directive if !begun => {}
                Line::Content | Line::Directive => content = content.or(Some(number)),
                Line::Nothing => {}
            }
        }
        self.cut(begin..at, line, begin_line, content)
    }
}

impl<'a> Pieces<'a> {
    /// Takes a document off the rest, if it holds anything.
    fn cut(
        &mut self,
        range: std::ops::Range<usize>,
        end_line: usize,
        begin_line: usize,
        content: Option<usize>,
    ) -> Option<Piece<'a>> {
        let text = self.rest;
        self.rest = text.get(range.end..).unwrap_or_default();
        self.before = end_line;
        Some(Piece { text: text.get(range)?, before: begin_line, line: content? + 1 })
    }
}

/// What a line of YAML says of documents.
enum Line {
    /// `---`, and whether something follows on the line.
    Begin {
        holds: bool,
    },
    /// A line `...`, which ends a document.
    End,
    /// `%`, which is content within a document.
    Directive,
    Content,
    /// A comment or blanks.
    Nothing,
}

impl Line {
    fn of(line: &[u8]) -> Self {
        let says_something = |text: &[u8]| {
            let text = text.trim_ascii_start();
            !text.is_empty() && !text.starts_with(b"#")
        };
        let marked = |mark: &[u8]| {
            let rest = line.strip_prefix(mark)?;
            rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest)
        };
        if let Some(rest) = marked(b"---") {
            return Self::Begin { holds: says_something(rest) };
        }
        if marked(b"...").is_some() {
            return Self::End;
        }
        match line.first() {
            Some(b'%') => Self::Directive,
            Some(_) if says_something(line) => Self::Content,
            Some(_) | None => Self::Nothing,
        }
    }
}

//! The texts that are checked, and what they hold.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reloadlet_manifest::{Format, Found, SIZE_LIMIT, Unreadable};

/// How deep below a directory files are looked for.
const DEEPEST: usize = 32;
/// The most files that are read of directories.
const MOST_FILES: usize = 100_000;

/// One text.
#[derive(Debug)]
pub(super) struct Source {
    /// What it is called: its path, or `standard input`.
    pub(super) name: String,
    /// Whether nobody named it: it was found in a directory, and may be something else than manifests.
    pub(super) is_listed: bool,
    /// What it holds, or why it can't be read.
    pub(super) found: Result<Vec<Result<Found, Unreadable>>, io::Error>,
}

impl Source {
    fn of(name: String, is_listed: bool, text: io::Result<Vec<u8>>) -> Self {
        Self { name, is_listed, found: text.map(|text| reloadlet_manifest::read(&text, Format::of(&text))) }
    }

    fn failed(path: &Path, error: io::Error) -> Self {
        Self { name: path.display().to_string(), is_listed: true, found: Err(error) }
    }
}

/// What all of these files hold, in their order; the files of a directory in the order of their names.
pub(super) fn read(files: &[PathBuf]) -> Vec<Source> {
    let mut sources = Vec::new();
    for file in files {
        if file.as_os_str() == "-" {
            sources.push(Source::of("standard input".to_owned(), false, bounded(io::stdin().lock())));
        } else if file.is_dir() {
            read_directory(file, &mut sources);
        } else {
            sources.push(Source::of(file.display().to_string(), false, File::open(file).and_then(bounded)));
        }
    }
    sources
}

/// One byte more than may be read says that there is too much.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn read_directory(directory: &Path, sources: &mut Vec<Source>) {
    let mut left = VecDeque::from([(directory.to_owned(), 0)]);
    let (mut count, mut known) = (0, BTreeSet::new());
    while let Some((path, depth)) = left.pop_front() {
        // A link may lead to one that was read, and back up.
        let is_new = |found: fs::Metadata| known.insert((found.dev(), found.ino()));
        if !fs::metadata(&path).map_or(true, is_new) {
            continue;
        }
        let entries = match entries(&path) {
            Ok(entries) => entries,
            Err(error) => {
                sources.push(Source::failed(&path, error));
                continue;
            }
        };
        let mut below = Vec::new();
        for (entry, kind) in entries {
            if kind.is_dir() || (kind.is_symlink() && entry.is_dir()) {
                if depth < DEEPEST {
                    below.push((entry, depth + 1));
                } else {
                    sources.push(Source::failed(
                        &entry,
                        io::Error::other("it is too deep below the directory that was named"),
                    ));
                }
            } else if is_manifest(&entry) && fs::metadata(&entry).map_or(true, |found| found.is_file()) {
                count += 1;
                if count > MOST_FILES {
                    let error =
                        format!("more than {MOST_FILES} files are in the directory: what follows isn't read");
                    sources.push(Source::failed(&entry, io::Error::other(error)));
                    return;
                }
                sources.push(Source::of(
                    entry.display().to_string(),
                    true,
                    File::open(&entry).and_then(bounded),
                ));
            }
        }
        below.into_iter().rev().for_each(|one| left.push_front(one));
    }
}

fn entries(directory: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let each =
        fs::read_dir(directory)?.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))));
    let mut entries: Vec<(PathBuf, fs::FileType)> = each.collect::<io::Result<_>>()?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_with_what_is_below_it_and_without_anything_else() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b/deep")).unwrap();
        for name in ["c.yaml", "a.YML", "b/deep/x.json", "b/y.yaml", "notes.md", "values.yaml.bak"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), root.path().join("b/again")).unwrap();
        std::os::unix::fs::symlink("missing", root.path().join("d.yaml")).unwrap();
        let sources = read(&[root.path().to_owned()]);
        let names: Vec<&str> = sources.iter().map(|source| source.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.YML", "c.yaml", "d.yaml", "y.yaml", "x.json"]);
        assert!(sources[2].found.is_err() && sources[0].found.as_ref().unwrap().is_empty());
    }

    #[test]
    fn a_link_to_a_directory_is_followed_once() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::create_dir_all(other.path().join("deep")).unwrap();
        for name in ["x.yaml", "deep/y.yaml"] {
            fs::write(other.path().join(name), "").unwrap();
        }
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
        link(other.path(), "one");
        link(other.path(), "two");
        link(root.path(), "three");
        std::os::unix::fs::symlink(root.path(), other.path().join("deep/back")).unwrap();
        let names: Vec<String> = read(&[root.path().to_owned()]).into_iter().map(|one| one.name).collect();
        let expected =
            ["one/x.yaml", "one/deep/y.yaml"].map(|name| root.path().join(name).display().to_string());
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file_that_isnt_there_is_an_error_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("pods.yaml");
        fs::write(&file, "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n").unwrap();
        let sources = read(&[root.path().join("no.yaml"), file]);
        assert!(sources[0].found.is_err());
        assert_eq!(sources[1].found.as_ref().unwrap().len(), 1);
    }
}

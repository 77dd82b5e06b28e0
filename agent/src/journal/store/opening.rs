//! How the file is opened, begun anew, set aside, or only read.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::*;
use crate::journal::error::SCHEMA;
use crate::logs::Causes;

/// The largest file that is copied in order to read it: it takes that much memory for a moment.
const MOST_COPIED: u64 = 32 << 20;

/// What earlier agents have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Past {
    /// Nothing was ever recorded here: it is the first start.
    Nothing,
    /// It was read.
    Read,
    /// It can't be read.
    Unreadable,
    /// It is gone.
    Gone,
    /// It can't be known: nothing can be kept either.
    Unknown,
}

impl Past {
    /// Whether there was an agent before, though it may not be known what it did.
    pub(in crate::journal) fn existed(self) -> bool {
        !matches!(self, Self::Nothing | Self::Unknown)
    }
}

impl Store {
    /// Opens the journal of a locked directory or begins one. Gives what it held.
    pub(in crate::journal) fn open(
        directory: &Path,
        boot_id: Option<&str>,
    ) -> Result<(Self, Records, Past), StoreError> {
        let path = file::path(directory);
        let past = match Self::load(&path, boot_id) {
            Ok(Some((store, records))) => {
                if store.begun {
                    file::mark_begun(&path);
                }
                let past = if store.begun { Past::Read } else { Past::Nothing };
                return Ok((store, records, past));
            }
            Ok(None) if file::was_begun(directory) => Past::Gone,
            Ok(None) => Past::Nothing,
            Err(error) if error.is_content() => {
                set_aside(&path, &error)?;
                Past::Unreadable
            }
            // Nobody can use it, and the directory may take another one.
            Err(error) if error.is_of_file() && Self::only_read(directory, boot_id).is_err() => {
                match set_aside(&path, &error) {
                    Ok(()) => Past::Unreadable,
                    Err(_stays) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        Ok((Self::create(directory, path, boot_id, past.existed())?, Records::default(), past))
    }

    /// What a file holds that can't be written, and whether anything was ever recorded in it; `None` where there is none.
    pub(in crate::journal) fn only_read(
        directory: &Path,
        boot_id: Option<&str>,
    ) -> Result<Option<(Records, bool)>, StoreError> {
        let path = file::path(directory);
        let failed = |op| {
            let path = path.clone();
            move |source| StoreError::Io { op, path, source }
        };
        let found = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed("open"))?,
        };
        // redb has to write in a file that wasn't closed, and none is.
        let copy = memfd_create("journal", MFdFlags::MFD_CLOEXEC);
        let mut copy = File::from(copy.map_err(|errno| failed("copy")(errno.into()))?);
        let copied = io::copy(&mut found.take(MOST_COPIED), &mut copy).map_err(failed("read"))?;
        if copied == MOST_COPIED {
            return Err(failed("copy")(io::ErrorKind::FileTooLarge.into()));
        }
        let (store, records) = Self::load_file(copy, path, boot_id)?;
        // The mark stays in the file, and agents that only read it have told others since.
        Ok(Some((Records { is_whole: false, ..records }, store.begun)))
    }

    /// A new file appears under its name only when it is whole. `begun` says whether there was one before, which can't be
    /// read: then this isn't an installation.
    fn create(
        directory: &Path,
        path: PathBuf,
        boot_id: Option<&str>,
        begun: bool,
    ) -> Result<Self, StoreError> {
        let draft = directory.join("journal.redb.new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(|source| StoreError::Io { op: "create", path: draft.clone(), source })?;
        let mut store = Self::over(file, path)?;
        store.begun = begun;
        store.write("begin", |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("schema", SCHEMA)?;
            meta.insert("boot_id", boot_id.unwrap_or_default())?;
            if begun {
                meta.insert("begun", "")?;
            }
            transaction.open_table(HANDLED)?;
            transaction.open_table(ENDINGS)?;
            transaction.open_table(EARLIER_ENDINGS)?;
            transaction.open_table(PODS)?;
            Ok(())
        })?;
        fs::rename(&draft, &store.path).map_err(|source| StoreError::Io {
            op: "rename",
            path: draft,
            source,
        })?;
        Ok(store)
    }

    /// `None` where there is no file.
    fn load(path: &Path, boot_id: Option<&str>) -> Result<Option<(Self, Records)>, StoreError> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Self::load_file(file, path.to_owned(), boot_id).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { op: "open", path: path.to_owned(), source }),
        }
    }

    fn load_file(file: File, path: PathBuf, boot_id: Option<&str>) -> Result<(Self, Records), StoreError> {
        // redb takes an empty file for one to begin.
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length == 0 {
            return Err(StoreError::Schema { path, found: None });
        }
        let mut store = Self::over(file, path.clone())?;
        let (schema, journalled_boot, begun, clock, boots) = store.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let value = |key| Ok::<_, redb::Error>(meta.get(key)?.map(|found| found.value().to_owned()));
            let boots = (value(CLOCK_BOOT_ID)?, value(deliveries::BOOT_ID)?);
            Ok((value("schema")?, value("boot_id")?, value("begun")?.is_some(), value(CLOCK)?, boots))
        })?;
        if schema.as_deref() != Some(SCHEMA) {
            return Err(StoreError::Schema { path, found: schema });
        }
        store.begun = begun;
        let is_whole = store.write("begin", |transaction| {
            whole::take(&mut transaction.open_table(META)?, clock.as_deref())
        })?;
        match boot_id {
            // No process is older than the boot, so none has missed what came before it.
            Some(boot_id) if journalled_boot.as_deref() != Some(boot_id) => {
                store.write("empty", |transaction| {
                    let mut meta = transaction.open_table(META)?;
                    meta.insert("boot_id", boot_id)?;
                    meta.remove(CLOCK)?;
                    clear(transaction)
                })?;
                Ok((store, Records::default()))
            }
            Some(_) | None => {
                let clock = clock.filter(|_| boots.0 == journalled_boot).unwrap_or_default();
                let shows_deliveries = boots.1 == journalled_boot;
                if !shows_deliveries {
                    store.write("empty", deliveries::clear)?;
                }
                let records = Records { clock, shows_deliveries, is_whole, ..store.records()? };
                Ok((store, records))
            }
        }
    }
}

/// Makes room for another file, which isn't taken for the first one.
fn set_aside(path: &Path, error: &StoreError) -> Result<(), StoreError> {
    file::mark_begun(path);
    let aside = path.with_file_name(format!("{}{}", file::ASIDE, unix_seconds()));
    fs::rename(path, &aside).map_err(|source| StoreError::Io {
        op: "rename",
        path: path.to_owned(),
        source,
    })?;
    tracing::warn!(
        error = %Causes(error),
        aside = %aside.display(),
        "the journal can't be read and was set aside: whoever is older than what its volumes hold is told of it, maybe once more"
    );
    Ok(())
}

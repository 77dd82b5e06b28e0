//! Where the workspace's binaries are.

use std::path::PathBuf;

use crate::Error;

/// Finds a binary of the workspace: in `RELOADLET_BIN_DIR`, else beside or above the running program
/// (`target/debug/deps/x` finds `target/debug/NAME`).
pub fn sibling_binary(name: &str) -> Result<PathBuf, Error> {
    if let Some(dir) = std::env::var_os("RELOADLET_BIN_DIR") {
        let path = PathBuf::from(dir).join(name);
        return if path.is_file() { Ok(path) } else { Err(Error::NotBuilt(name.to_owned())) };
    }
    std::env::current_exe()
        .iter()
        .flat_map(|exe| exe.ancestors().skip(1).take(3))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::NotBuilt(name.to_owned()))
}

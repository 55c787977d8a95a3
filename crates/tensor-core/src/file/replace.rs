//! Writing a file whole or not at all.

use std::borrow::Cow;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FileError;

/// Writes `path` through a temporary file beside it, which takes the name only when all is written and flushed to disk.
///
/// A reader sees the old file or the new one, and a write that fails leaves the old one as it was. Maps of the old file
/// stay valid where the system keeps open files (not on Windows, where replacing a mapped file is an error).
///
/// # Errors
/// [`FileError::Io`] if `path` is something other than a file, or a file that may not be written; with what `write` returned or the file system said; the temporary file is gone then.
///
/// ```
/// use std::io::Write;
/// use scant_tensor_core::file::replace;
/// let path = std::env::temp_dir().join(format!("scant-replace-{}", std::process::id()));
/// replace(&path, |out| out.write_all(b"first"))?;
/// let failed = replace(&path, |out| {
///     out.write_all(b"sec")?;
///     Err(std::io::ErrorKind::StorageFull.into())
/// });
/// assert!(failed.is_err());
/// assert_eq!(std::fs::read(&path).unwrap(), b"first");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), scant_tensor_core::file::FileError>(())
/// ```
pub fn replace(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    let named = path.as_ref();
    let path = &*target(named).map_err(|e| FileError::io("write", named, e))?;
    let (file, partial) = create_beside(path).map_err(|e| FileError::io("write", path, e))?;
    let written = write_and_rename(file, &partial, path, write);
    if written.is_err() {
        // The first error is the one to report; a partial file that cannot even be removed does no harm.
        let _ = fs::remove_file(&partial);
    }
    written.map_err(|e| FileError::io("write", path, e))
}

/// What is to be replaced: behind a link the file that it names.
fn target(path: &Path) -> io::Result<Cow<'_, Path>> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    let path = if is_link { Cow::Owned(fs::canonicalize(path)?) } else { Cow::Borrowed(path) };
    match fs::metadata(&path) {
        // Renaming would put a file in the place of a device or a pipe.
        Ok(m) if !m.is_file() => Err(io::Error::other("there is something that is not a regular file")),
        Ok(m) if m.permissions().readonly() => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(path),
    }
}

fn create_beside(path: &Path) -> io::Result<(fs::File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no file name"))?;
    loop {
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        partial.push(format!(".{}-{serial}.partial", std::process::id()));
        let partial = path.with_file_name(partial);
        match fs::File::create_new(&partial) {
            Ok(file) => return Ok((file, partial)),
            // Left by a process that died and had this number before us.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

fn write_and_rename(file: fs::File, partial: &Path, path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Before the rename: else a crash could leave the new name on a file without its bytes.
    file.sync_all()?;
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    drop(file);
    fs::rename(partial, path)?;
    // The new name is kept by the folder. Some file systems cannot flush folders; the file is whole either way.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

// SPDX-License-Identifier: Apache-2.0
//! Temporary files for what the engine cannot hold in memory.
//!
//! Workers write them, and only the main thread may call PostgreSQL. The main thread therefore finds the directory
//! (`temp_tablespaces`) and the limit beforehand, and the files are the process's own: named like PostgreSQL's, so that
//! its start removes what a crash leaves behind, and unlinked as soon as they are open.
use doris_engine::error::{Error, Result};
use doris_engine::spill::{SpillFile, SpillStore};
use pgrx::pg_sys;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// A query's temporary files.
#[derive(Clone)]
pub struct TempFiles(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    /// `temp_file_limit`, in bytes.
    bytes_max: Option<u64>,
    bytes: AtomicU64,
}

/// Tells apart the files of a process.
static FILES: AtomicU64 = AtomicU64::new(0);

impl TempFiles {
    /// Files where PostgreSQL would put those of this session.
    pub fn new() -> Self {
        let mut path = [0; pg_sys::MAXPGPATH as usize];
        // SAFETY: on the main thread; the path fits MAXPGPATH bytes.
        let (directory, limit) = unsafe {
            pg_sys::PrepareTempTablespaces();
            let mut space = pg_sys::GetNextTempTableSpace();
            if space == pg_sys::InvalidOid {
                space = pg_sys::MyDatabaseTableSpace;
            }
            pg_sys::TempTablespacePath(path.as_mut_ptr(), space);
            let text = std::ffi::CStr::from_ptr(path.as_ptr()).to_string_lossy();
            (PathBuf::from(text.as_ref()), pg_sys::temp_file_limit)
        };
        Self(Arc::new(Shared {
            directory,
            bytes_max: u64::try_from(limit).ok().map(|kilobytes| kilobytes * 1024),
            bytes: AtomicU64::new(0),
        }))
    }

    /// Tells PostgreSQL's statistics what was written. On the main thread.
    pub fn report(&self) {
        let bytes = self.0.bytes.load(Ordering::Relaxed);
        if bytes > 0 {
            // SAFETY: adds to this backend's pending statistics.
            unsafe { pg_sys::pgstat_report_tempfile(bytes as usize) };
        }
    }
}

impl Shared {
    fn open(&self) -> io::Result<File> {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgsql_tmp{}.doris.{number}", std::process::id());
        let path = self.directory.join(name);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut directory = fs::DirBuilder::new();
                directory
                    .mode(0o700)
                    .recursive(true)
                    .create(&self.directory)?;
                options.open(&path)?
            }
            other => other?,
        };
        fs::remove_file(&path)?;
        Ok(file)
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let directory = self.directory.display();
        Error::Spill {
            code: if full { "53100" } else { "58030" },
            text: format!("could not {what} a temporary file in \"{directory}\": {error}").into(),
        }
    }
}

impl SpillStore for TempFiles {
    fn create(&self) -> Result<Box<dyn SpillFile>> {
        let file = self.0.open().map_err(|e| self.0.failed("create", &e))?;
        Ok(Box::new(TempFile {
            shared: self.0.clone(),
            file,
            end: 0,
        }))
    }
}

struct TempFile {
    shared: Arc<Shared>,
    file: File,
    end: u64,
}

impl SpillFile for TempFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let more = bytes.len() as u64;
        let total = self.shared.bytes.fetch_add(more, Ordering::Relaxed) + more;
        if self.shared.bytes_max.is_some_and(|max| total > max) {
            let kilobytes = self.shared.bytes_max.unwrap_or_default() / 1024;
            return Err(Error::Spill {
                code: "53400",
                text: format!("temporary file size exceeds temp_file_limit ({kilobytes}kB)").into(),
            });
        }
        self.file
            .write_all_at(bytes, self.end)
            .map_err(|e| self.shared.failed("write", &e))?;
        self.end += more;
        Ok(())
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|e| self.shared.failed("read", &e))
    }
}

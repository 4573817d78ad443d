//! The provider's books on disk: one JSON line an entry, written before the call is answered.
//!
//! A line that is in the file survives the death of this process, which is what tests and chaos do to it; there is
//! no fsync, as the simulated provider does not pretend to survive a power cut. A line that was being written when
//! the process died has not been answered, so it is cut off.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::Context;
use shared::contract::Timestamp;

use super::{
    Request,
    behaviour::Behaviour,
    books::{Books, Entry, Judged, Mistake, Reply},
};

pub struct Ledger {
    pub books: Books,
    file: File,
}

const FILE: &str = "books.jsonl";

impl Ledger {
    /// Reads the books in this folder, which is made where there is none.
    ///
    /// # Errors
    /// Where the folder cannot be used, another process has the books, or a line is not an entry.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let path = folder.join(FILE);
        let named = || path.display().to_string();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", named()))?;
        file.try_lock().with_context(|| format!("{} belongs to another provider", named()))?;
        let (books, bytes) = read(&file).with_context(|| format!("{} cannot be read", named()))?;
        file.set_len(bytes).with_context(|| format!("the torn end of {} stays", named()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { books, file })
    }

    /// Judges a call, writes it down, and only then says how it is answered.
    ///
    /// # Errors
    /// The outer one where it could not be written: then nothing happened.
    pub fn ask(
        &mut self,
        request: &Request,
        at: Timestamp,
        behaviour: &Behaviour,
    ) -> anyhow::Result<Result<Reply, Mistake>> {
        let entry = match self.books.judge(request, at, behaviour) {
            Ok(Judged::New(entry)) => entry,
            Ok(Judged::Repeated(said)) => return Ok(Ok(Reply::Said(said))),
            Err(mistake) => return Ok(Err(mistake)),
        };
        self.write(&entry).context("the books could not be written")?;
        self.books.apply(&entry);
        Ok(Ok(entry.reply))
    }

    fn write(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let end = self.file.metadata()?.len();
        self.file.write_all(&line).or_else(|error| {
            // Half a line would swallow the next one.
            self.file.set_len(end)?;
            Err(error)
        })?;
        Ok(())
    }
}

/// The books, and how many bytes of the file are whole lines.
fn read(file: &File) -> anyhow::Result<(Books, u64)> {
    let (mut books, mut bytes) = (Books::default(), 0);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let entry =
            serde_json::from_slice(&line).with_context(|| format!("line {number} is not an entry"))?;
        books.apply(&entry);
        bytes += line.len() as u64;
    }
    Ok((books, bytes))
}

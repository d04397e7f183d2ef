// Package spool is the crash-safe store of messages: one message, one entry, in
// a file of its own or, if it is small, in a slot of one that all share. It knows
// octets, not mail. What Commit and Append acknowledged is
// on stable storage; what Remove acknowledged is gone for certain.
//
// # What is written in which order
//
// A power cut keeps any part of what was not synced and loses the rest; a kill
// loses nothing that a system call has taken. No step below depends on more than
// that, and nothing that was acknowledged is ever written over.
//
//   - Commit: content, then one sync of content and name, then the
//     acknowledgement. The steps, and what a crash between them leaves, are told
//     there. Nothing is renamed: a file has its final name from the start, and its
//     preamble says whether it was committed. So a name takes one change of the
//     folder, and one sync does for data and name.
//   - Append, to an entry in a file: the record behind the last one, then a sync of
//     the data. The record's length and checksum tell whether it is all there; one
//     that is not was never acknowledged and does not count.
//   - Append, to an entry in a slot: the entry is written to a file of its own, file
//     and name are synced, the slot is cleared, the clearing is synced, and then the
//     record goes behind it. The file is synced before the slot goes, so that one of
//     the two is whole at any time; the slot's clearing before Append returns,
//     because a Remove of the file may come next, and the slot must not bring the
//     entry back. Where both are there at the start, the file counts if it is whole.
//   - Remove: the name is removed and the folder synced, or the head of the slot is
//     cleared and the slots are synced; then the slot may be used again. What was
//     removed does not come back: the upstream has it.
//   - Quarantine: a rename, and syncs of the folder that it goes to and of the one
//     that it leaves; a slot is copied, the copy and its name are synced, and the
//     slot is cleared.
//   - Open makes the folders, and syncs those that their names are in.
//
// # After a sync that failed
//
// The kernel tells of a write that failed once, to whoever syncs next, and counts
// the page as clean: another sync goes well, whatever the disk holds. So a sync
// that failed is not tried again on the same pages. It fails all that was written
// before it and not yet synced, whoever wrote it (errNotTrusted). Commit gives the
// message back, and the copier keeps it; slots are not used for new entries until
// the next start; Append writes its record over the old one; a removal is written
// once more.
//
// It imports the standard library and golang.org/x/sys only.
package spool

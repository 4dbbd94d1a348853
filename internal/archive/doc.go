// Package archive looks into archives that strangers made: it lists what is in
// them and unpacks it, in memory, within limits.
//
// What it holds to, for every format:
//
//   - Nothing is written anywhere, no name of an entry is ever used as a path,
//     and nothing is run.
//   - Every limit has a name (LimitError), and reaching it is reported: an
//     archive that was not looked at to its end is never taken for empty.
//   - A reader that panics is an archive that is damaged (ErrDamaged), not a
//     process that ends.
//   - Where unpackers disagree about what is in an archive, all their readings
//     are visited, and Oddities tells that there are several.
//
// Zip, xz, TNEF and cabinet are read by code of our own, since it is their
// structure that lies: libraries give one reading. The rest is libraries:
// docs/adr/0005 says which, and what they are kept from.
package archive

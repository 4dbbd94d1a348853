// Package filetype tells what a file is by its first octets, what a mail
// program would do with it by its name, and by which tricks a name shows
// something else than it is. It reads nothing and runs nothing.
//
// Octets and names are two opinions: Windows opens a file by its name, most
// readers of documents look at the octets. Who judges an attachment asks for
// both, and takes the worse.
package filetype

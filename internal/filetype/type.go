package filetype

// Type is what a file's octets say: a word of a closed set, "" for nothing
// that is known.
type Type string

// The types. The words are kept in histories and used in rules: they stay.
const (
	Unknown Type = ""

	// Programs and what starts them.
	PE       Type = "exe" // DOS, Windows, EFI
	ELF      Type = "elf"
	MachO    Type = "macho"
	Class    Type = "class" // Java
	DEX      Type = "dex"   // Android
	Wasm     Type = "wasm"
	Script   Type = "script"    // begins with #!
	Encoded  Type = "encscript" // VBE, JSE
	Lnk      Type = "lnk"
	URL      Type = "url" // [InternetShortcut]
	HTA      Type = "hta"
	WSF      Type = "wsf"
	Registry Type = "reg"
	CHM      Type = "chm"
	Deb      Type = "deb"
	RPM      Type = "rpm"
	XAR      Type = "xar" // macOS packages
	MSI      Type = "msi" // found inside of OLE: Detect does not know it

	// Images of disks: opened like folders, and without the mark that a file
	// came from outside.
	ISO  Type = "iso"
	UDF  Type = "udf"
	VHD  Type = "vhd"
	VHDX Type = "vhdx"
	VMDK Type = "vmdk"
	Disk Type = "disk" // a boot sector
	DMG  Type = "dmg"

	// Archives.
	Zip      Type = "zip"
	Gzip     Type = "gzip"
	Bzip2    Type = "bzip2"
	XZ       Type = "xz"
	LZMA     Type = "lzma"
	Zstd     Type = "zstd"
	LZ4      Type = "lz4"
	Compress Type = "compress" // .Z
	Tar      Type = "tar"
	SevenZip Type = "7z"
	RAR      Type = "rar"
	CAB      Type = "cab"
	ARJ      Type = "arj"
	LZH      Type = "lzh"
	ACE      Type = "ace"
	TNEF     Type = "tnef"
	Ar       Type = "ar"
	Cpio     Type = "cpio"
	Apple    Type = "applesingle"
	MacBin   Type = "macbinary"

	// Documents.
	OLE     Type = "ole" // compound file: old Office, MSI, Outlook messages
	RTF     Type = "rtf"
	PDF     Type = "pdf"
	OneNote Type = "onenote"
	HTML    Type = "html"
	SVG     Type = "svg"
	XML     Type = "xml"
	SYLK    Type = "sylk" // a spreadsheet that can start programs
	EPS     Type = "eps"
	Message Type = "message" // a mail message in a file: told by its name or declared type

	// Pictures and sounds, where nothing is looked for.
	PNG  Type = "png"
	JPEG Type = "jpeg"
	GIF  Type = "gif"
	WebP Type = "webp"
	BMP  Type = "bmp"
	TIFF Type = "tiff"
	Icon Type = "ico"
	MP3  Type = "mp3"
	Ogg  Type = "ogg"
	WAV  Type = "wav"
	MP4  Type = "mp4"
)

// Group says what a type is good for.
type Group uint8

// The groups.
const (
	Other      Group = iota
	Executable       // runs, or makes something run, when it is opened
	Image            // a disk image
	Archive
	Document
	Media
)

var groups = map[Type]Group{
	PE: Executable, ELF: Executable, MachO: Executable, Class: Executable, DEX: Executable, Wasm: Executable,
	Script: Executable, Encoded: Executable, Lnk: Executable, URL: Executable, HTA: Executable, WSF: Executable,
	Registry: Executable, CHM: Executable, Deb: Executable, RPM: Executable, XAR: Executable, MSI: Executable,

	ISO: Image, UDF: Image, VHD: Image, VHDX: Image, VMDK: Image, Disk: Image, DMG: Image,

	Zip: Archive, Gzip: Archive, Bzip2: Archive, XZ: Archive, LZMA: Archive, Zstd: Archive, LZ4: Archive,
	Compress: Archive, Tar: Archive, SevenZip: Archive, RAR: Archive, CAB: Archive, ARJ: Archive, LZH: Archive,
	ACE: Archive, TNEF: Archive, Ar: Archive, Cpio: Archive, Apple: Archive, MacBin: Archive,

	OLE: Document, RTF: Document, PDF: Document, OneNote: Document, HTML: Document, SVG: Document, XML: Document,
	SYLK: Document, EPS: Document, Message: Document,

	PNG: Media, JPEG: Media, GIF: Media, WebP: Media, BMP: Media, TIFF: Media, Icon: Media, MP3: Media, Ogg: Media,
	WAV: Media, MP4: Media,
}

// Group is the group of a type.
func (t Type) Group() Group { return groups[t] }

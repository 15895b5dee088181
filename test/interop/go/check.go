package main

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	f_proof "github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// question is what sworn says of the log in `log/` of the folder; every word of it is checked.
type question struct {
	Log    string `json:"log"`
	Vkey   string `json:"vkey"`
	Proofs []struct {
		Index  int64    `json:"index"`
		Hashes []string `json:"hashes"`
	} `json:"proofs"`
	OldSize     int64    `json:"oldSize"`
	OldRoot     string   `json:"oldRoot"`
	Consistency []string `json:"consistency"`
	// Files that `sworn prove` wrote, each of another entry.
	ProofFiles []string `json:"proofFiles"`
}

const tileHeight = 8

func check(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "question.json"))
	if err != nil {
		return err
	}
	var asked question
	if err := json.Unmarshal(text, &asked); err != nil {
		return err
	}
	verifier, err := note.NewVerifier(asked.Vkey)
	if err != nil {
		return fmt.Errorf("sumdb/note does not take the vkey: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(asked.Log, "checkpoint"))
	if err != nil {
		return err
	}
	checkpoint, _, opened, err := f_log.ParseCheckpoint(raw, verifier.Name(), verifier)
	if err != nil {
		return fmt.Errorf("the checkpoint is not taken: %w", err)
	}
	if len(opened.Sigs) != 1 || len(opened.UnverifiedSigs) != 0 {
		return fmt.Errorf("the checkpoint has %d signatures that hold and %d others", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	holds("sumdb/note opens the checkpoint of %d entries with the vkey", checkpoint.Size)

	tree := tlog.Tree{N: int64(checkpoint.Size), Hash: tlog.Hash(checkpoint.Hash)}
	reader := tlog.TileHashReader(tree, tileFiles{asked.Log})
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return fmt.Errorf("the tiles do not give the root: %w", err)
	}
	if root != tree.Hash {
		return errors.New("the tiles give another root")
	}
	holds("sumdb/tlog gets the root from the tiles")

	entries, err := readBundles(asked.Log, tree.N)
	if err != nil {
		return err
	}
	if err := checkEntries(tree, reader, entries); err != nil {
		return err
	}
	holds("all %d entries of the bundles are the leaves of the tree", len(entries))

	for _, ours := range asked.Proofs {
		theirs, err := tlog.ProveRecord(tree.N, ours.Index, reader)
		if err != nil {
			return err
		}
		if err := same([]tlog.Hash(theirs), ours.Hashes); err != nil {
			return fmt.Errorf("the inclusion proof of entry %d: %w", ours.Index, err)
		}
	}
	holds("%d inclusion proofs are those of sumdb/tlog", len(asked.Proofs))

	if err := checkConsistency(asked, tree, reader); err != nil {
		return err
	}
	holds("the consistency proof from %d to %d is that of sumdb/tlog, and CheckTree takes it", asked.OldSize, tree.N)

	for _, path := range asked.ProofFiles {
		if err := checkProofFile(path, verifier, tree, entries); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	holds("%d proof files are read by formats/proof, and the entry and content in them hold", len(asked.ProofFiles))

	return cosignIt(folder, opened)
}

// tileFiles reads tiles as C2SP tlog-tiles lays them down: as sumdb does, without the height.
type tileFiles struct{ folder string }

func (t tileFiles) Height() int { return tileHeight }

func (t tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, 0, len(tiles))
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (t tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}

func readBundles(folder string, size int64) ([][]byte, error) {
	var entries [][]byte
	for n := int64(0); n<<tileHeight < size; n++ {
		tile := tlog.Tile{H: tileHeight, L: -1, N: n, W: int(min(size-n<<tileHeight, 1<<tileHeight))}
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/data/", tileHeight), "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return nil, err
		}
		for count := 0; count < tile.W; count++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("%s is too short", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			entries = append(entries, bundle[2:end])
			bundle = bundle[end:]
		}
		if len(bundle) > 0 {
			return nil, fmt.Errorf("%s is too long", path)
		}
	}
	return entries, nil
}

// stored is a tree's hashes in the order of sumdb.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(s)) {
			return nil, errors.New("no such hash")
		}
		hashes[i] = s[index]
	}
	return hashes, nil
}

// checkEntries builds the tree anew from the entries, and compares its leaves with those in the tiles.
func checkEntries(tree tlog.Tree, tiles tlog.HashReader, entries [][]byte) error {
	var all stored
	for i, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(i), entry, all)
		if err != nil {
			return err
		}
		all = append(all, hashes...)
	}
	root, err := tlog.TreeHash(tree.N, all)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("the entries of the bundles give another root")
	}
	for from := 0; from < len(entries); from += 1 << tileHeight {
		var indexes []int64
		for i := from; i < min(from+1<<tileHeight, len(entries)); i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, int64(i)))
		}
		leaves, err := tiles.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, leaf := range leaves {
			if leaf != tlog.RecordHash(entries[from+i]) {
				return fmt.Errorf("entry %d is not the leaf of its tile", from+i)
			}
		}
	}
	return nil
}

func checkConsistency(asked question, tree tlog.Tree, reader tlog.HashReader) error {
	theirs, err := tlog.ProveTree(tree.N, asked.OldSize, reader)
	if err != nil {
		return err
	}
	if err := same([]tlog.Hash(theirs), asked.Consistency); err != nil {
		return fmt.Errorf("the consistency proof: %w", err)
	}
	ours := make(tlog.TreeProof, 0, len(asked.Consistency))
	for _, text := range asked.Consistency {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return err
		}
		ours = append(ours, hash)
	}
	oldRoot, err := tlog.ParseHash(asked.OldRoot)
	if err != nil {
		return err
	}
	return tlog.CheckTree(ours, tree.N, tree.Hash, asked.OldSize, oldRoot)
}

func same(theirs []tlog.Hash, ours []string) error {
	texts := make([]string, 0, len(theirs))
	for _, hash := range theirs {
		texts = append(texts, hash.String())
	}
	if !slices.Equal(texts, ours) {
		return fmt.Errorf("%v is not %v", ours, texts)
	}
	return nil
}

// extra is the content of a proof as spec/evidence.md says.
type extra struct {
	Sworn    int    `json:"sworn"`
	Leaf     string `json:"leaf"`
	Segments []struct {
		Salt []byte `json:"salt"`
		Text string `json:"text"`
	} `json:"segments"`
}

func checkProofFile(path string, verifier note.Verifier, tree tlog.Tree, entries [][]byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file f_proof.TLogProof
	if err := file.Unmarshal(text); err != nil {
		return err
	}
	if !bytes.Equal(file.Marshal(), text) {
		return errors.New("formats/proof writes other bytes than it read")
	}
	checkpoint, _, _, err := f_log.ParseCheckpoint(file.Checkpoint, verifier.Name(), verifier)
	if err != nil {
		return err
	}
	if int64(checkpoint.Size) != tree.N || tlog.Hash(checkpoint.Hash) != tree.Hash {
		return errors.New("it has another checkpoint than the log")
	}
	content, err := readExtra(file.ExtraData)
	if err != nil {
		return err
	}
	if !bytes.Equal([]byte(content.Leaf), entries[file.Index]) {
		return errors.New("it has another entry than the log")
	}
	hashes := make(tlog.RecordProof, 0, len(file.Hashes))
	for _, hash := range file.Hashes {
		hashes = append(hashes, tlog.Hash(hash))
	}
	if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, int64(file.Index), tlog.RecordHash([]byte(content.Leaf))); err != nil {
		return err
	}
	return checkContent(content)
}

func readExtra(data []byte) (*extra, error) {
	if len(data) > 0 && data[0] == 0x1f {
		unzip, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if data, err = io.ReadAll(unzip); err != nil {
			return nil, err
		}
	}
	var content extra
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("extra: %w", err)
	}
	if content.Sworn != 1 || len(content.Segments) == 0 {
		return nil, errors.New("extra has no content")
	}
	return &content, nil
}

// checkContent holds the content against the entry's commitment: the tree over the salted hashes.
func checkContent(content *extra) error {
	var entry struct {
		Commitment []byte `json:"commitment"`
		Segments   int    `json:"segments"`
	}
	if err := json.Unmarshal([]byte(content.Leaf), &entry); err != nil {
		return err
	}
	if entry.Segments != len(content.Segments) {
		return fmt.Errorf("%d segments, and the entry has %d", len(content.Segments), entry.Segments)
	}
	var all stored
	for i, segment := range content.Segments {
		sum := sha256.Sum256(slices.Concat([]byte{2}, segment.Salt, []byte(segment.Text)))
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), sum, all)
		if err != nil {
			return err
		}
		all = append(all, hashes...)
	}
	root, err := tlog.TreeHash(int64(entry.Segments), all)
	if err != nil {
		return err
	}
	if !bytes.Equal(root[:], entry.Commitment) {
		return fmt.Errorf("the content gives %v, the entry says %s", root, base64.StdEncoding.EncodeToString(entry.Commitment))
	}
	return nil
}

// cosignIt leaves the checkpoint with a cosignature by formats/note for sworn to read.
func cosignIt(folder string, checkpoint *note.Note) error {
	skey, vkey, err := note.GenerateKey(rand.Reader, "go.example/witness")
	if err != nil {
		return err
	}
	signer, err := f_note.NewSignerForCosignatureV1(skey)
	if err != nil {
		return err
	}
	vkey, err = f_note.VKeyToCosignatureV1(vkey)
	if err != nil {
		return err
	}
	// the log's own line stays, as what nobody has verified
	signed, err := note.Sign(&note.Note{Text: checkpoint.Text, UnverifiedSigs: checkpoint.Sigs}, signer)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "cosigned"), signed, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "cosigner"), []byte(vkey), 0o644)
}

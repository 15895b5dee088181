package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// goLog is a log made of sumdb's parts alone.
type goLog struct {
	origin   string
	signer   note.Signer
	verifier note.Verifier
	hashes   stored
	size     int64
}

func (l *goLog) grow(size int64) error {
	for ; l.size < size; l.size++ {
		hashes, err := tlog.StoredHashes(l.size, []byte(fmt.Sprintf("entry %d", l.size)), l.hashes)
		if err != nil {
			return err
		}
		l.hashes = append(l.hashes, hashes...)
	}
	return nil
}

func (l *goLog) checkpoint(size int64) ([]byte, error) {
	root, err := tlog.TreeHash(size, l.hashes)
	if err != nil {
		return nil, err
	}
	text := f_log.Checkpoint{Origin: l.origin, Size: uint64(size), Hash: root[:]}.Marshal()
	return note.Sign(&note.Note{Text: string(text)}, l.signer)
}

func (l *goLog) proof(oldSize, size int64) ([]tlog.Hash, error) {
	if oldSize == 0 || oldSize == size {
		return nil, nil
	}
	proof, err := tlog.ProveTree(size, oldSize, l.hashes)
	return []tlog.Hash(proof), err
}

// feed says the log's vkey on stdout, reads address and key of the witness from stdin, and asks it for cosignatures, also for some that it must refuse.
func feed() error {
	const origin = "go.example/log"
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	fmt.Println(vkey)
	var where struct {
		Address string `json:"address"`
		Witness string `json:"witness"`
	}
	if err := json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&where); err != nil {
		return err
	}
	witness, err := f_note.NewVerifierForCosignatureV1(where.Witness)
	if err != nil {
		return fmt.Errorf("formats/note does not take the witness's key: %w", err)
	}

	log := &goLog{origin: origin, signer: signer, verifier: verifier}
	if err := log.grow(1000); err != nil {
		return err
	}
	cosigned := func(oldSize, size int64) error {
		got, err := ask(where.Address, log, oldSize, size)
		if err != nil {
			return err
		}
		if got.status != 200 {
			return fmt.Errorf("from %d to %d: status %d, %s", oldSize, size, got.status, got.body)
		}
		checkpoint, err := log.checkpoint(size)
		if err != nil {
			return err
		}
		return checkCosigned(append(checkpoint, got.body...), log, witness, size)
	}
	refused := func(oldSize, size int64, status int) (*answer, error) {
		got, err := ask(where.Address, log, oldSize, size)
		if err != nil {
			return nil, err
		}
		if got.status != status {
			return nil, fmt.Errorf("from %d to %d: status %d and not %d, %s", oldSize, size, got.status, status, got.body)
		}
		return got, nil
	}

	if err := cosigned(0, 5); err != nil {
		return err
	}
	if err := cosigned(5, 300); err != nil {
		return err
	}
	if err := cosigned(300, 300); err != nil {
		return err
	}
	holds("the witness cosigns the log of Go at 5, 300, and 300 again; formats/note takes the cosignatures")

	// somebody who has lost what the witness knows: the size in the answer is where the next proof begins
	lost, err := refused(0, 1000, 409)
	if err != nil {
		return err
	}
	if lost.contentType != "text/x.tlog.size" {
		return fmt.Errorf("the 409 has the type %q", lost.contentType)
	}
	known, err := strconv.ParseInt(strings.TrimSuffix(lost.body, "\n"), 10, 64)
	if err != nil || known != 300 {
		return fmt.Errorf("the 409 says %q and not 300", lost.body)
	}
	if err := cosigned(known, 1000); err != nil {
		return err
	}
	holds("after a 409 the log goes on from the size that it says")

	if _, err := refused(1001, 1000, 400); err != nil {
		return err
	}
	fork := &goLog{origin: origin, signer: signer, verifier: verifier}
	fork.hashes = append(fork.hashes, tlog.RecordHash([]byte("another first entry")))
	fork.size = 1
	if err := fork.grow(1100); err != nil {
		return err
	}
	for _, size := range []int64{1000, 1100} {
		got, err := ask(where.Address, fork, 1000, size)
		if err != nil {
			return err
		}
		if want := map[int64]int{1000: 409, 1100: 422}[size]; got.status != want {
			return fmt.Errorf("another tree of %d entries: status %d and not %d", size, got.status, want)
		}
	}
	_, stranger, err := note.GenerateKey(rand.Reader, origin)
	if err != nil || stranger == vkey {
		return fmt.Errorf("no other key: %w", err)
	}
	thief, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return err
	}
	other, err := note.NewSigner(thief)
	if err != nil {
		return err
	}
	for _, one := range []struct {
		log    *goLog
		status int
	}{{&goLog{origin: origin, signer: other, hashes: log.hashes}, 403}, {&goLog{origin: "go.example/unknown", signer: other, hashes: log.hashes}, 404}} {
		got, err := ask(where.Address, one.log, 1000, 1000)
		if err != nil {
			return err
		}
		if got.status != one.status {
			return fmt.Errorf("%s: status %d and not %d", one.log.origin, got.status, one.status)
		}
	}
	holds("another tree, a larger old size, a strange key and an unknown log are refused as C2SP says")

	latest, err := request(where.Address, "GET", fmt.Sprintf("/%x/checkpoint", sha256.Sum256([]byte(origin))), nil)
	if err != nil {
		return err
	}
	if err := checkCosigned([]byte(latest.body), log, witness, 1000); err != nil {
		return err
	}
	holds("whoever monitors the witness gets what it cosigned last")
	return nil
}

func checkCosigned(text []byte, log *goLog, witness note.Verifier, size int64) error {
	checkpoint, _, opened, err := f_log.ParseCheckpoint(text, log.origin, log.verifier, witness)
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 2 || len(opened.UnverifiedSigs) != 0 || int64(checkpoint.Size) != size {
		return fmt.Errorf("%d signatures hold at size %d", len(opened.Sigs), checkpoint.Size)
	}
	for _, signature := range opened.Sigs {
		if signature.Hash != witness.KeyHash() {
			continue
		}
		at, err := f_note.CoSigV1Timestamp(signature)
		if err != nil {
			return err
		}
		if ago := time.Since(at); ago < -time.Minute || ago > time.Minute {
			return fmt.Errorf("the cosignature is of %v", at)
		}
		return nil
	}
	return fmt.Errorf("no cosignature of the witness")
}

func ask(address string, log *goLog, oldSize, size int64) (*answer, error) {
	var body strings.Builder
	fmt.Fprintf(&body, "old %d\n", oldSize)
	if oldSize <= size {
		proof, err := log.proof(oldSize, size)
		if err != nil {
			return nil, err
		}
		for _, hash := range proof {
			fmt.Fprintln(&body, base64.StdEncoding.EncodeToString(hash[:]))
		}
	}
	checkpoint, err := log.checkpoint(size)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(&body)
	body.Write(checkpoint)
	return request(address, "POST", "/add-checkpoint", []byte(body.String()))
}

type answer struct {
	status      int
	contentType string
	body        string
}

// request speaks HTTP/1.0 by hand: net/http would take most of the time that building this program takes.
func request(address, method, path string, body []byte) (*answer, error) {
	connection, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(connection, "%s %s HTTP/1.0\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, path, address, len(body), body); err != nil {
		return nil, err
	}
	all, err := io.ReadAll(connection)
	if err != nil {
		return nil, err
	}
	head, rest, found := strings.Cut(string(all), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	words := strings.SplitN(lines[0], " ", 3)
	if !found || len(words) < 2 {
		return nil, fmt.Errorf("not HTTP: %q", all)
	}
	status, err := strconv.Atoi(words[1])
	if err != nil {
		return nil, err
	}
	got := &answer{status: status, body: rest}
	for _, line := range lines[1:] {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Type") {
			got.contentType = strings.TrimSpace(value)
		}
	}
	return got, nil
}

# The image file: downloaded, checked, unpacked, and only then under its name. Runs that share it take turns.
# shellcheck shell=sh disable=SC2034,SC2154 # the files of lib/ and vm.sh share their variables

# local_file PATH: so that no command takes it for an option, in $local_file
local_file() {
	case $1 in
		/* | ./*) local_file=$1 ;;
		*) local_file=./$1 ;;
	esac
}

need_for_image() {
	[ "$image_path" ] || return 0
	local_file "$image_path"
	[ ! -s "$local_file" ] || return 0
	need 'download the image' curl
	case $image_checksum_algorithm in
		'') ;;
		md5) need 'check the image' md5sum openssl ;;
		*) need 'check the image' "${image_checksum_algorithm}sum" shasum openssl ;;
	esac
	case $image_archive_type in
		7z) need 'unpack the image' 7zz 7z 7za 7zr ;;
		xz) need 'unpack the image' xz ;;
		gz) need 'unpack the image' gzip ;;
		bz2) need 'unpack the image' bzip2 ;;
		zst) need 'unpack the image' zstd ;;
	esac
}

build_image() {
	[ "$image_path" ] || return 0
	local_file "$image_path"
	image=$local_file
	if [ -s "$image" ]; then
		for leftover in "$image".*.part; do # of a run that was killed after it had unpacked it
			[ -e "$leftover" ] || continue
			name_part
			rm -f "$part" "$part.headers.part"
			break
		done
		return 0
	fi
	name_part
	mkdir -p "${image%/*}" || die "cannot make the directory of $image_path"
	lock 8 "$image.lock" "downloads $image_path"
	file_sizes=$nl
	[ ! -s "$image" ] || return 0
	stall=$(((V1ALPHA1_COMMAND_TIMEOUT_SECS + 9) / 10)) # how long nothing may come
	[ "$stall" -gt 0 ] || stall=60
	fetch_checksum
	if [ -s "$part" ]; then
		say "going on with the download of $image_url"
	else
		say "downloading $image_url"
	fi
	until part_is_whole; do
		download
		checksum_fits && break
		rm -f "$part"
		[ "$resumed" ] || die "$image_url is not what it should be" "$image_problem" \
			'what came is removed; if the image was replaced there, the registry needs its new checksum'
		say "starting the download over: $image_problem"
	done
	unpack
	say "downloaded $image_path"
}

# name_part: what came from another URL is not gone on with
name_part() {
	part=$(printf '%s' "$image_url" | cksum) || die 'cksum failed'
	part=$image.${part%% *}.part
}

# part_is_whole: when an earlier run was stopped after the download
part_is_whole() {
	[ -s "$part" ] || return 1
	if [ "$image_sum" ]; then
		checksum_fits
	else
		read_headers
		size "$part"
		[ "$length" = "$size" ]
	fi
}

# download: into $part, going on where it ends ($resumed then). It is tried again while more comes, and three times when
# nothing does.
download() {
	tries=0 most=0
	while :; do
		code=0
		set -- curl --show-error --fail --location --globoff --retry 3 --retry-max-time "$stall" --connect-timeout 30 \
			--speed-limit 1 --speed-time "$stall" --output "$part" --write-out '\n%{http_code}' --url "$image_url"
		can_resume || rm -f "$part"
		if [ -s "$part" ]; then
			resumed=yes
			set -- "$@" --continue-at -
			[ -z "$validator" ] || set -- "$@" --header "If-Range: $validator"
		else
			resumed=''
			set -- "$@" --dump-header "$part.headers.part"
		fi
		if [ -t 2 ] || [ "${VMP_PROGRESS-}" ]; then
			image_problem=$("$@" --progress-bar) || code=$?
		else
			image_problem=$("$@" --silent 2>&1) || code=$?
		fi
		status=${image_problem##*"$nl"}
		image_problem=${image_problem%"$nl"*}
		image_problem="${image_problem:-HTTP status $status} (exit code $code of curl)"
		case $resumed$code-$status in
			0-* | yes0-206 | yes0-000) # 000: no HTTP
				[ -s "$part" ] || die "could not download $image_url" 'the server sent an empty file'
				return 0
				;;
			yes0-* | yes33-* | yes36-* | yes22-416)
				say 'starting the download over: the file has changed there, or the server sends it whole only'
				rm -f "$part"
				continue
				;;
		esac
		case $code in
			18 | 28 | 52 | 55 | 56 | 92) ;; # cut off: the part stays, and is gone on with
			23) die "could not download $image_url" "$image_problem" "see whether the disk is full: df ${image%/*}" ;;
			*) die "could not download $image_url" "$image_problem" ;;
		esac
		size=0
		[ ! -e "$part" ] || size "$part"
		[ "$size" -lt $((most + 1048576)) ] || tries=0 most=$size
		tries=$((tries + 1))
		[ "$tries" -lt 4 ] ||
			die "could not download $image_url" "$image_problem" 'what came is kept; the next run goes on from there'
		sleep "$((tries - 1))"
	done
}

# can_resume: whether what a server adds to $part would be of the same file: a checksum will tell, or the server itself by
# the version that it named when $part was begun (for If-Range, in $validator)
can_resume() {
	validator=''
	[ -s "$part" ] && [ -z "$image_sum" ] || return 0
	case $image_url in
		[Hh][Tt][Tt][Pp]*) read_headers ;;
	esac
	[ "$validator" ]
}

# read_headers: of the answer that $part began with
read_headers() {
	validator='' length=''
	[ -e "$part.headers.part" ] || return 0
	headers=$(awk '
		{ sub(/\r$/, ""); value = $0; sub(/^[^:]*:[ \t]*/, "", value) }
		/^HTTP\// { etag = modified = bytes = "" }
		tolower($1) == "etag:" && value ~ /^"/ { etag = value }
		tolower($1) == "last-modified:" { modified = value }
		tolower($1) == "content-length:" { bytes = value }
		END { print bytes " " (etag != "" ? etag : modified) }' <"$part.headers.part")
	length=${headers%% *} validator=${headers#* }
}

# fetch_checksum: the expected sum in $image_sum
fetch_checksum() {
	image_sum=$image_checksum_value
	[ "$image_checksum_url" ] || return 0
	image_sums=$(curl --silent --show-error --fail --location --globoff --retry 3 --retry-max-time "$stall" \
		--connect-timeout 30 --max-time "$((stall * 2))" --url "$image_checksum_url" 2>&1) || die "could not download the checksums $image_checksum_url" "$image_sums"
	image_file=${image_url%%[?#]*}
	image_file=${image_file##*/}
	image_sum=$(printf '%s\n' "$image_sums" | FILE=$image_file ALGORITHM=$image_checksum_algorithm awk '
		function length_of(algorithm) { return algorithm == "sha512" ? 128 : algorithm == "sha256" ? 64 : algorithm == "sha1" ? 40 : 32 }
		function is_sum(word) { return length(word) == wanted && word !~ /[^0-9A-Fa-f]/ }
		BEGIN { wanted = length_of(ENVIRON["ALGORITHM"]); file = ENVIRON["FILE"]; name = toupper(ENVIRON["ALGORITHM"]) }
		{ sub(/\r$/, "") }
		is_sum($1) && NF == 1 { bare = $1; bares++; next }
		is_sum($1) { # GNU: sum, space, space or asterisk, name
			rest = substr($0, index($0, $1) + wanted)
			sub(/^[ \t]+\*?/, "", rest); sub(/^\.\//, "", rest)
			if (rest == file) { print $1; found = 1; exit }
		}
		{ sub(/^SHA2-/, "SHA") } # as OpenSSL 3 has it
		toupper(substr($0, 1, length(name))) == name { # BSD: ALGORITHM (name) = sum
			rest = substr($0, length(name) + 1)
			sub(/^ ?\((\.\/)?/, "", rest)
			if (substr(rest, 1, length(file)) == file && substr(rest, length(file) + 1) ~ /^\) ?= ?[0-9A-Fa-f]+ *$/ && is_sum($NF)) {
				print $NF; found = 1; exit
			}
		}
		END { if (!found && bares == 1) print bare }')
	[ "$image_sum" ] || die "$image_checksum_url has no $image_checksum_algorithm sum of '$image_file'"
}

# checksum_fits: of $part; false with $image_problem
checksum_fits() {
	[ "$image_sum" ] || return 0
	if have "${image_checksum_algorithm}sum"; then
		image_actual=$("$found" <"$part")
	elif [ "$image_checksum_algorithm" != md5 ] && have shasum; then
		image_actual=$(shasum -a "${image_checksum_algorithm#sha}" <"$part")
	else
		image_actual=$(openssl dgst "-$image_checksum_algorithm" -r <"$part")
	fi
	image_actual=${image_actual%% *}
	image_expected=$(printf '%s' "$image_sum" | tr 'A-F' 'a-f')
	[ "$image_actual" != "$image_expected" ] || return 0
	image_problem="$image_checksum_algorithm expected $image_expected, actual $image_actual${image_checksum_url:+ (from $image_checksum_url)}"
	return 1
}

unpack() {
	rm -f "$image.tmp"
	[ "$image_archive_type" != 7z ] || look_into_7z
	case $image_archive_type in
		'')
			mv -f "$part" "$image"
			rm -f "$part.headers.part"
			return
			;;
		7z) "$found" e -so -spd "$part" "-i!$member" >"$image.tmp" ;;
		xz) xz -dc <"$part" >"$image.tmp" ;;
		gz) gzip -dc <"$part" >"$image.tmp" ;;
		bz2) bzip2 -dc <"$part" >"$image.tmp" ;;
		zst) zstd -q -dc <"$part" >"$image.tmp" ;;
	esac || {
		rm -f "$image.tmp" "$part"
		die "could not unpack $image_url" "the file is no whole $image_archive_type archive, or the disk is full"
	}
	[ -s "$image.tmp" ] || {
		rm -f "$image.tmp" "$part"
		die "the archive $image_url holds an empty file"
	}
	mv -f "$image.tmp" "$image"
	rm -f "$part" "$part.headers.part"
}

# look_into_7z: which member it is to be, in $member
look_into_7z() {
	have 7zz 7z 7za 7zr
	members=$("$found" l -ba -slt "$part" | awk '
		/^Path = / { path = substr($0, 8) }
		/^Folder = \+/ { path = "" }
		/^Attributes = D/ { path = "" }
		/^$/ && path != "" { print path; path = "" }
		END { if (path != "") print path }')
	member=${image_archive_path:-$members}
	case $member in
		*"$nl"*) die "the archive $image_url holds more than one file; say which one (archive.path)" "$members" ;;
	esac
	[ -z "$members" ] || has_line "$members" "$member" ||
		die "the archive $image_url holds no '$member', but" "$members"
}

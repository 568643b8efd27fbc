"""Attempts to make a value more than text. Each is another idea; `T` is the command that would leave a trace."""

from __future__ import annotations

CANARY = "vmp-canary"
"""The file that appears when a value was evaluated, wherever that happens."""

T = f"touch {CANARY}"

_SHELL = f"""$({T})
`{T}`
"$({T})"
'$({T})'
'; {T}; '
"; {T}; "
"`{T}`"
'"'"'$({T})'"'"'
\\'; {T}; \\'
'\\''; {T}; '\\''
; {T}
;{T};
| {T}
|| {T}
&& {T}
& {T}
{T} &
|& {T}
> {CANARY}
>> {CANARY}
< {CANARY}
<> {CANARY}
2> {CANARY}
$(>{CANARY})
touch${{IFS}}{CANARY}
$(touch${{IFS}}{CANARY})
$(touch$IFS$9{CANARY})
{{touch,{CANARY}}}
<({T})
>({T})
$(({T}))
$((a[$({T})]))
$[$({T})]
${{x:=$({T})}}
${{x:-`{T}`}}
${{!x}}
${{x@P}}
eval {T}
exec {T}
. ./{CANARY}
() {{ :;}}; {T}
x=$({T})
PATH=. {T}
LD_PRELOAD=./{CANARY} true
~root
~+/{CANARY}
*
?
[a-z]*
**/*
!!
!touch
^a^{CANARY}
# {T}
a # {T}
\\
a\\
\\$({T})
\\`{T}\\`
\\;{T}
case x in x) {T};; esac
}}; {T}; {{
); {T}; (
fi; {T}; if :; then
done; {T}; while false; do
esac; {T}; case x in
" || {T} "
-c {T}
--
-
-n
-e {T}
-x
+x
$0
$@
$$
$HOME
"$@" {T}
return; {T}
exit; {T}
trap '{T}' EXIT
alias ls='{T}'
function sh {{ {T}; }}
env -i {T}
xargs {T}
sudo {T}
sh -c '{T}'
"; system("{T}"); "
s/x/{T}/e
/x/e {T}
%s%s%n
%c%d%99999s
' OR '1'='1
*)(uid=*
${{jndi:ldap://127.0.0.1/a}}"""

_MAKE = f"""$(shell {T})
$$(shell {T})
${{shell {T}}}
$(eval x := $(shell {T}))
$(eval $$(shell {T}))
$(call shell,{T})
$(info pwned)
$(error pwned)
$(warning pwned)
$(file >{CANARY},x)
$(guile (system "{T}"))
$(value MAKE)
$(MAKE) {CANARY}
$(foreach x,a,$(shell {T}))
$(if x,$(shell {T}))
$(wildcard *)
%: ; {T}
X != {T}
X := $(shell {T})
include {CANARY}
-include {CANARY}
.ONESHELL:
SHELL=/bin/touch
MAKEFLAGS=-n
--eval=$(shell {T})
-f {CANARY}
-C /
all: ; {T}
\\#
@{T}
+{T}"""

_FORMATS = """{VM_NAME.__class__}
{VM_NAME!r}
{VM_NAME:>9}
{VM_NAME[0]}
{0}
{}
{{VM_NAME}}
{VM_NAME}
{UNKNOWN}
{VM_NAME
}
%(VM_NAME)s
%VM_NAME%
${VM_NAME}
$VM_NAME
#{1+1}
{{7*7}}
{% if 1 %}x{% endif %}
<%= 7*7 %>
{__import__('os')}
__import__('os').system('touch vmp-canary')
!raw {VM_NAME}"""

_PATHS = f"""../../{CANARY}
/{CANARY}
./{CANARY}
..
.
a/../../{CANARY}
provisioner.py
vm.json
Makefile
secrets.json
__pycache__/x
known_hosts
/etc/passwd
/dev/stdout
/proc/self/environ
~/.ssh/id_rsa
//host/{CANARY}
C:\\{CANARY}
\\\\host\\{CANARY}
.git/hooks/pre-commit
file:///etc/shadow
file://localhost/etc/shadow"""

_SSH = f"""-oProxyCommand={T}
-o ProxyCommand={T}
-E{CANARY}
-F{CANARY}
-w
ProxyCommand={T}
LocalCommand {T}
%h
%C
%%
%d/%u
${{HOME}}/x
root@127.0.0.1
x -oProxyCommand={T}
ssh://-oProxyCommand={T}
[::1]%$({T})
" ProxyCommand={T} "
a'b" -oPermitLocalCommand=yes
~.
-J 127.0.0.1
-V"""

_CURL = f"""-K{CANARY}
--config={CANARY}
@{CANARY}
@/etc/passwd
-o{CANARY}
--output={CANARY}
--upload-file=/etc/passwd
http://127.0.0.1:1/ -o {CANARY}
http://127.0.0.1:1/{{a,b}}
http://127.0.0.1:1/[1-9]
http://127.0.0.1:1/#1
http://127.0.0.1:1/%0d%0aX:y
http://127.0.0.1:1/$({T})
http://127.0.0.1:1/`{T}`
http://127.0.0.1:1/';{T};'
http://127.0.0.1:1/?a=b&touch${{IFS}}{CANARY}
http://-u:x@127.0.0.1:1/
gopher://127.0.0.1:1/_x
dict://127.0.0.1:1/x
telnet://127.0.0.1:1
smb://127.0.0.1:1/x"""

_LIBVIRT = f"""--connect=test:///default
test:///default
qemu:///session
qemu+ext:///system?command={CANARY}
qemu+ssh://-oProxyCommand={T}/system
qemu+ssh://$({T})@127.0.0.1:1/system
'; destroy x; echo '
"; undefine x; echo "
\\'; pool-destroy default; echo \\'
; shell {T}
quit
cd /
!{T}
--file={CANARY}
--wipe
--help
echo --shell '$({T})'
/@/1/end
error: no such thing
x,model=virtio
x,,y
"
'
"x",readonly=on
x,cache=none,path=/etc/shadow
x",path="/etc/shadow
--print-xml
--disk=/etc/shadow
xpath0.set=./name
clearxml=yes
size=100
help
vol=default/x
,
=
a=b=c"""

_XML = """]]>
</title><devices>
&xxe;
%xxe;
<!DOCTYPE x [<!ENTITY xxe SYSTEM "file:///etc/passwd">]>
<![CDATA[x]]>
<?xml version="1.0"?>
&#10;
&lt;b&gt;
&amp;amp;
&amp;lt;b&amp;gt;
'/><disk/><x y='
"/><disk/><x y="
<!-- x
-->
</name><name>x</name>
<metadata>
</metadata>
</description></domain>
<source file='/etc/shadow'/>
<path>/etc</path>
x&y"""

_YAML = f"""runcmd: [{T}]
!!python/object/apply:os.system ["{T}"]
&a x
*a
? x
- x
key: value
key: |
|
>
%YAML 1.1
---
...
yes
null
~
0x1F
012
1e3
1:30
1.10
<<
<<: *a
{{a: b}}
[a, b]
@x
`x
"a
'a
#cloud-config
## template: jinja
#!/bin/sh
#include http://127.0.0.1:1/
Content-Type: multipart/mixed; boundary="x"
a: b: c"""

_UNICODE = [
    f"＄（{T}）",
    f"‘; {T}; ’",
    f"；{T}",
    f"｜{T}",
    f"＇；{T}；＇",
    f"＂$({T})＂",
    f"a\u2028{T}",
    f"a\u2029{T}",
    f"a\u0085{T}",
    f"a\u00a0{T}",
    f"\u202e{T}",
    f"\u2066{T}\u2069",
    f"\ufeff{T}",
    f"a\u200b{T}",
    "e\u0301 é ﬁ İ ß ſ K",
    "🐧 👩‍👩‍👧 𝒳 \U0001f1e9\U0001f1ea",
    "\U0010ffff",
    "\ue000",
    "a\ufffe",
    "раураl аdmin",
    "مرحبا",
]

_CONTROL = [
    f"\n{T}",
    f"\n\t{T}",
    f"x\n\t{T}\n",
    f"x:\n\t{T}",
    f"\r\n{T}\r\n",
    f"a\r{T}",
    f"a\n{T}\nb",
    f"\\\n{T}",
    f"'\n{T}\n'",
    f'"\n{T}\n"',
    f"\nEOF_ANSWER\n{T}\n",
    f"\nEOF_HELP\n{T}\n",
    f"define x\n{T}\nendef",
    f"#\n{T}",
    "/@/1/end\nerror: x\n",
    f"x\nProxyCommand {T}",
    f"x\nurl = file:///etc/passwd\noutput = {CANARY}",
    f'"\nruncmd: ["{T}"]',
    f"x\nruncmd:\n  - {T}\n",
    f"#cloud-config\nruncmd: [{T}]",
    f"#!/bin/sh\n{T}\n",
    f"MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\n{T}",
    "http://127.0.0.1:1/\r\nHost: x",
    "\t",
    f"a\t{T}",
    "\x1b[2J\x1b[1;1H",
    f"\x1b]0;{T}\x07",
    "\x9b31m",
    "\x07\x08\x7f",
    f"a\x01{T}",
    f"a\x0b\x0c{T}",
    f" {T}",
    f"{T} ",
    f"$({T})" * 250,
    "x" * 4096,
    "'\"\\`$" * 800,
]

_LINES = (_SHELL, _MAKE, _FORMATS, _PATHS, _SSH, _CURL, _LIBVIRT, _XML, _YAML)

INJECTIONS: tuple[str, ...] = (*[line for lines in _LINES for line in lines.split("\n")], *_UNICODE, *_CONTROL)

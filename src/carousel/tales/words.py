"""The words of the tales: who, what they are like, what they do; `things` has the rest.

A table is ordered from common to rare: the word of rank k = 0, 1, … weighs 5040 // (k + 15), a law
of Zipf and Mandelbrot. No word may begin another of its table in a form that is drawn: "cat" rules
out "catfish" (`clashes` finds none).

Source: Mandelbrot 1953, An Informational Theory of the Statistical Structure of Language.
"""

from itertools import product

from carousel.tales.grammar import Table, Word, make_table

AN = ("honest",)  # begins with a vowel to the ear
A = ("one", "uniform")  # begin with a consonant to the ear
IRREGULAR = "mouse/mice goose/geese calf/calves salmon/salmon trout/trout elk/elk scarf/scarves"
PLURALS = dict(pair.split("/") for pair in IRREGULAR.split())
HE = {"he": "he", "him": "him", "his": "his", "child": "boy", "son": "son"}
SHE = {"he": "she", "him": "her", "his": "her", "child": "girl", "son": "daughter"}


def with_article(words: str) -> str:
    """Prefix a word with "a" or "an", as it sounds."""
    vowel = words.startswith(tuple("aeiou")) and not words.startswith(A)
    return f"an {words}" if vowel or words.startswith(AN) else f"a {words}"


def plural(noun: str) -> str:
    """Give the plural of a noun."""
    if noun in PLURALS:
        return PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def _weight(rank: int) -> int:
    return 5040 // (rank + 15)


def _table(words: list[Word]) -> Table:
    return make_table([_weight(rank) for rank in range(len(words))], words)


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",")]


def plain(text: str) -> Table:
    """Words with the form `a`: with an article."""
    return _table([{"word": word, "a": with_article(word)} for word in _split(text)])


def nouns(text: str) -> Table:
    """Words with the forms `a`: with an article, and `s`: the plural."""
    return _table([{"word": w, "a": with_article(w), "s": plural(w)} for w in _split(text)])


def columns(forms: str, text: str) -> Table:
    """Words whose forms are written out, with slashes between."""
    names = forms.split("/")
    return _table([dict(zip(names, entry.split("/"), strict=True)) for entry in _split(text)])


def compounds(heads: str, tails: str) -> Table:
    """Every head joined to every tail, each drawn by its own rank."""
    pairs = list(product(enumerate(_split(heads)), enumerate(_split(tails))))
    weights = [_weight(i) * _weight(j) for (i, _), (j, _) in pairs]
    return make_table(weights, [{"word": head + tail} for (_, head), (_, tail) in pairs])


def _gender(entry: str) -> tuple[str, Word]:
    """Women are marked with a +."""
    return entry.rstrip("+"), SHE if entry.endswith("+") else HE


def _names(text: str) -> Table:
    """Names, with their pronouns."""
    people = map(_gender, _split(text))
    return _table([{"word": name, "call": name, **gender} for name, gender in people])


def _callings(text: str) -> Table:
    """Callings: "the miller", addressed as "miller"."""
    people = map(_gender, _split(text))
    return _table(
        [{"word": f"the {w}", "call": w, "a": with_article(w), **gender} for w, gender in people]
    )


PEOPLE: dict[str, Table] = {
    # Who
    "name": _names(
        "Tom, Anna+, Peter, Marta+, Jonas, Lena+, Emil, Greta+, Oskar, Ida+, Felix, Clara+, Hugo,"
        "Elsa+, Simon, Frida+, Nils, Hanna+, Otto, Nora+, Robin, Rosa+, Bruno, Tilda+, Victor,"
        "Sofia+, Caspar, Mina+, Willem, Vera+, Edgar, Ursula+, Theo, Judith+, Ludo, Wanda+, Zeno,"
        "Kirsten+, Bastian, Dorothy+, Quentin, Xenia+, Yorick, Philippa+, Anton, Agatha+, Matthew,"
        "Beatrix+, Giles, Cecily+, Rufus, Eleanor+, Conrad, Flora+, Dominic, Gwen+, Fabian, Ivy+,"
        "Gregor, Josephine+, Kilian, Lucy+, Leopold, Miriam+, Pascal, Phoebe+, Ulric, Susanna+,"
        "Alois, Adele+, Basil, Bertha+, Cedric, Carla+, Dieter, Delia+, Ernest, Esther+, Fritz,"
        "Fanny+, Gustav, Gisela+, Harold, Hilda+, Isidor, Irene+, Jasper, Johanna+, Karl,"
        "Kathleen+, Lorenz, Lydia+, Moritz, Magda+, Noah, Nelly+, Oliver, Olivia+, Patrick,"
        "Petra+, Raphael, Rebecca+, Silas, Selma+, Tobias, Thea+, Urban, Una+, Vincent, Veronica+,"
        "Walter, Winifred+, Yolanda+, Zita+"
    ),
    "trade": _callings(
        "miller, baker+, shepherd, weaver+, king, princess+, tailor, gardener+, fisherman, queen+,"
        "cobbler, potter+, blacksmith, goose girl+, woodcutter, widow+, knight, cook+, sailor,"
        "dairymaid+, carpenter, painter+, tinker, beekeeper+, clockmaker, innkeeper+, farmer,"
        "mapmaker+, piper, candlemaker+, merchant, poet+, soldier, astronomer+, juggler,"
        "seamstress+, glassblower, countess+, ropemaker, judge+, duke, captain+, rat catcher,"
        "dancer+, swineherd, doctor+, chimney sweep, spinner+, hatter, empress+, locksmith,"
        "lacemaker+, magician, orphan+, stonemason, sculptor+, barber, actress+, general,"
        "botanist+, saddler, professor+, organist, baroness+, tax collector, lion tamer+"
    ),
    "elder": _callings(
        "ferryman, storyteller+, hermit, nurse+, lamplighter, washerwoman+, pedlar, herb woman+,"
        "gatekeeper, fortune teller+, fiddler, wanderer+, watchman, abbess+, bard,"
        "lighthouse keeper+, pilgrim, puppeteer+, monk, librarian+, charcoal burner,"
        "schoolmistress+, wizard, midwife+, coachman, governess+, sexton, ragpicker+, clown,"
        "fishwife+, drummer, apothecary+, vicar, matchmaker+, tramp, prophetess+"
    ),
    "kin": _names(
        "mother+, father, grandmother+, grandfather, aunt+, uncle, sister+, brother, godmother+,"
        "godfather, stepmother+, stepfather, great-aunt+, great-uncle, nanny+, tutor"
    ),
    "foe": plain(
        "giant, wolf, dragon, troll, ogre, goblin, griffin, robber, sea serpent, basilisk, pirate,"
        "sorcerer, witch, werewolf, bandit, tyrant, ghost, lion, cyclops, crocodile, vampire,"
        "highwayman, kraken, phantom, burglar, minotaur, tiger, hobgoblin"
    ),
    "animal": nouns(
        "fox, hare, crow, owl, mouse, hedgehog, frog, cat, goose, badger, squirrel, goat, otter,"
        "dog, mole, hen, donkey, bear, toad, robin, raven, duck, snail, stag, rabbit, pig, beaver,"
        "magpie, stork, pony, weasel, cricket, spider, heron, swan, beetle, sparrow, turtle, dove,"
        "bumblebee, newt, lamb, ram, salmon, lizard, jackdaw, polecat, cuckoo, kitten, finch, eel,"
        "falcon, parrot, seal, wren, ladybird, ferret, peacock, calf, thrush, monkey, camel, moth,"
        "gull, hamster, ant, trout, puppy, elk, nightingale, penguin, bat, lynx, quail, walrus,"
        "yak, zebra, iguana"
    ),
    # What they are like
    "mood": plain(
        "brave, kind, clever, merry, curious, gentle, lonely, patient, honest, cheerful, poor,"
        "shy, stubborn, quiet, hopeful, happy, generous, lazy, proud, thoughtful, careless,"
        "restless, sleepy, clumsy, dreamy, friendly, grumpy, hungry, humble, jolly, lively,"
        "modest, nimble, polite, sensible, tidy, timid, wise, foolish, earnest, obedient, untidy,"
        "bold, calm, cross, adventurous, anxious, charming, dutiful, eager, faithful, fearless,"
        "forgetful, fussy, idle, giddy, glum, graceful, greedy, handsome, impatient, innocent,"
        "jealous, loyal, mild, moody, mischievous, noisy, odd, playful, practical, quarrelsome,"
        "rude, serious, silly, sincere, strange, sweet, talkative, tender, thrifty, vain, witty,"
        "zealous"
    ),
    "coat": plain(
        "grey, old, sly, plump, spotted, shaggy, young, lame, wet, brown, thin, scruffy, white,"
        "fat, shivering, black, ginger, limping, whiskery, one-eyed, drowsy, ragged, nervous,"
        "dignified, sneezing, fluffy, elegant, absent-minded, bow-legged, stout, lean, long-eared,"
        "muddy, meek, tame, wild, hoarse, blind, freckled, bald, toothless, solemn, giggling,"
        "chubby, weary, bashful, pampered, runaway, long-tailed, melancholy, cross-eyed, velvety,"
        "damp, ancient, sunburnt, lanky, barefoot, yellowish, unwashed, well-read"
    ),
    "feeling": plain(
        "joy, hope, wonder, sorrow, fear, pride, courage, delight, longing, shame, relief, anger,"
        "surprise, gratitude, envy, mischief, doubt, tenderness, impatience, kindness, grief,"
        "love, rage, homesickness, boredom, curiosity, dread, excitement, happiness, pity, regret,"
        "hunger, jealousy, melancholy, rapture, remorse, astonishment, terror, worry"
    ),
    # What they do
    "walk": columns(
        "base/word/ing",
        "walk/walked/walking, run/ran/running, wander/wandered/wandering, hurry/hurried/hurrying,"
        "march/marched/marching, skip/skipped/skipping, creep/crept/creeping,"
        "tiptoe/tiptoed/tiptoeing, stroll/strolled/strolling, trudge/trudged/trudging,"
        "dance/danced/dancing, ride/rode/riding, rush/rushed/rushing, stumble/stumbled/stumbling,"
        "limp/limped/limping, trot/trotted/trotting, roam/roamed/roaming, race/raced/racing,"
        "journey/journeyed/journeying, plod/plodded/plodding, scamper/scampered/scampering,"
        "gallop/galloped/galloping, saunter/sauntered/sauntering, flee/fled/fleeing,"
        "hobble/hobbled/hobbling, crawl/crawled/crawling, hop/hopped/hopping,"
        "climb/climbed/climbing, jog/jogged/jogging, slip/slipped/slipping,"
        "travel/travelled/travelling, vanish/vanished/vanishing, stagger/staggered/staggering,"
        "glide/glided/gliding, waddle/waddled/waddling, stride/strode/striding,"
        "leap/leapt/leaping, sneak/sneaked/sneaking, dash/dashed/dashing, sail/sailed/sailing,"
        "bounce/bounced/bouncing, shuffle/shuffled/shuffling",
    ),
    "mend": columns(
        "word/ing",
        "mended/mending, polished/polishing, hid/hiding, weighed/weighing, drew/drawing,"
        "sold/selling, admired/admiring, buried/burying, washed/washing, wrapped/wrapping,"
        "repaired/repairing, guarded/guarding, dusted/dusting, stole/stealing, scolded/scolding,"
        "kissed/kissing, measured/measuring, gilded/gilding, borrowed/borrowing, lost/losing,"
        "blessed/blessing, inherited/inheriting, dropped/dropping, fed/feeding, painted/painting,"
        "juggled/juggling, licked/licking, tamed/taming, undressed/undressing, examined/examining",
    ),
    "act": columns(
        "base/s/word/ing",
        "sing/sings/sang/singing, laugh/laughs/laughed/laughing, sigh/sighs/sighed/sighing,"
        "wait/waits/waited/waiting, sleep/sleeps/slept/sleeping, nod/nods/nodded/nodding,"
        "listen/listens/listened/listening, weep/weeps/wept/weeping, hum/hums/hummed/humming,"
        "smile/smiles/smiled/smiling, whistle/whistles/whistled/whistling, bow/bows/bowed/bowing,"
        "tremble/trembles/trembled/trembling, yawn/yawns/yawned/yawning,"
        "rest/rests/rested/resting, sneeze/sneezes/sneezed/sneezing,"
        "giggle/giggles/giggled/giggling, blush/blushes/blushed/blushing,"
        "snore/snores/snored/snoring, knit/knits/knitted/knitting,"
        "shiver/shivers/shivered/shivering, grumble/grumbles/grumbled/grumbling,"
        "cough/coughs/coughed/coughing, doze/dozes/dozed/dozing, pray/prays/prayed/praying,"
        "mutter/mutters/muttered/muttering, chatter/chatters/chattered/chattering,"
        "dream/dreams/dreamed/dreaming, groan/groans/groaned/groaning, howl/howls/howled/howling,"
        "chew/chews/chewed/chewing, jump/jumps/jumped/jumping,"
        "stretch/stretches/stretched/stretching, quarrel/quarrels/quarrelled/quarrelling,"
        "argue/argues/argued/arguing, purr/purrs/purred/purring, recite/recites/recited/reciting,"
        "frown/frowns/frowned/frowning, shrug/shrugs/shrugged/shrugging,"
        "wink/winks/winked/winking, hiccup/hiccups/hiccuped/hiccuping, gasp/gasps/gasped/gasping,"
        "kneel/kneels/knelt/kneeling, scowl/scowls/scowled/scowling,"
        "stutter/stutters/stuttered/stuttering, curtsy/curtsies/curtsied/curtsying,"
        "squint/squints/squinted/squinting, pout/pouts/pouted/pouting,"
        "cheer/cheers/cheered/cheering, sulk/sulks/sulked/sulking,"
        "applaud/applauds/applauded/applauding, beam/beams/beamed/beaming",
    ),
    "gleam": columns(
        "base/s/word/ing",
        "shine/shines/shone/shining, glitter/glitters/glittered/glittering,"
        "whisper/whispers/whispered/whispering, dance/dances/danced/dancing,"
        "tremble/trembles/trembled/trembling, sing/sings/sang/singing, hum/hums/hummed/humming,"
        "rustle/rustles/rustled/rustling, murmur/murmurs/murmured/murmuring,"
        "sway/sways/swayed/swaying, gleam/gleams/gleamed/gleaming, sleep/sleeps/slept/sleeping,"
        "drift/drifts/drifted/drifting, glow/glows/glowed/glowing, sigh/sighs/sighed/sighing,"
        "twinkle/twinkles/twinkled/twinkling, flutter/flutters/fluttered/fluttering,"
        "wait/waits/waited/waiting, echo/echoes/echoed/echoing, nod/nods/nodded/nodding,"
        "sparkle/sparkles/sparkled/sparkling, fade/fades/faded/fading, ring/rings/rang/ringing,"
        "flicker/flickers/flickered/flickering, shiver/shivers/shivered/shivering,"
        "rise/rises/rose/rising, bloom/blooms/bloomed/blooming, spin/spins/spun/spinning,"
        "tumble/tumbles/tumbled/tumbling, blink/blinks/blinked/blinking,"
        "creak/creaks/creaked/creaking, listen/listens/listened/listening,"
        "quiver/quivers/quivered/quivering, vanish/vanishes/vanished/vanishing,"
        "crackle/crackles/crackled/crackling, dangle/dangles/dangled/dangling,"
        "float/floats/floated/floating, chime/chimes/chimed/chiming, roll/rolls/rolled/rolling,"
        "hover/hovers/hovered/hovering, shimmer/shimmers/shimmered/shimmering,"
        "melt/melts/melted/melting, whirl/whirls/whirled/whirling,"
        "dwindle/dwindles/dwindled/dwindling, ripple/ripples/rippled/rippling,"
        "jingle/jingles/jingled/jingling",
    ),
    "cry": plain(
        "wept, sang, danced, laughed, trembled, blushed, jumped, beamed, shook, shouted, fainted,"
        "howled, squeaked, cartwheeled, sobbed, clapped, whistled, moaned"
    ),
    "said": plain(
        "said, whispered, cried, laughed, murmured, called, sighed, muttered, grumbled, chuckled,"
        "shouted, declared, exclaimed, mumbled, sobbed, croaked, giggled, announced, groaned,"
        "growled, snapped, squeaked, sang, stammered, yawned, hissed, panted, roared, smiled,"
        "insisted, gasped, grunted, observed, remarked, bellowed, wailed, hummed, thundered,"
        "bleated, hooted, drawled, chirped, crowed, lisped, spluttered, confessed, explained,"
        "sniffed, purred, rasped, warned, trumpeted, cooed, beamed, joked, moaned, piped, vowed"
    ),
    "asked": plain(
        "asked, wondered, inquired, demanded, cried, whispered, called, shouted, murmured,"
        "mumbled, sighed, laughed, muttered, growled, stammered, gasped, squeaked, yawned,"
        "grunted, hissed, sniffed, barked, croaked, piped, chirped, panted, sobbed, howled"
    ),
    "hobby": plain(
        "singing, fishing, baking, climbing, dancing, whittling, reading, sewing, painting,"
        "sailing, whistling, weaving, swimming, skating, dreaming, gardening, carving, knitting,"
        "juggling, rowing, cooking, counting, arguing, exploring, riding, sleeping, hiding,"
        "wrestling, gossiping, collecting moss, flying kites, pulling faces, watching clouds,"
        "telling lies, chasing geese, ringing bells, writing poems, picking locks, taming fleas,"
        "making jam"
    ),
    "chore": plain(
        "peeling potatoes, counting pennies, plaiting straw, reading a letter, stirring a pot,"
        "eating a pear, shelling peas, tuning a harp, carving a spoon, oiling a hinge,"
        "untying a knot, rolling a barrel, brushing a wig, chopping wood, drinking tea,"
        "folding a map, sewing on a button, grinding pepper, hanging up sheets, ironing a flag,"
        "knitting a bridge, lacing a boot, nailing up a notice, playing cards, quilting a sail,"
        "yawning at the sky, talking to a tree, whittling a saint, waiting for the post,"
        "writing a will"
    ),
    "adverb": plain(
        "slowly, softly, gladly, quickly, quietly, sadly, bravely, proudly, gently, merrily,"
        "happily, wearily, boldly, carefully, cheerfully, politely, calmly, eagerly, solemnly,"
        "shyly, patiently, anxiously, kindly, sternly, warmly, nervously, thoughtfully, crossly,"
        "dreamily, foolishly, hopefully, impatiently, loudly, modestly, obligingly, regretfully,"
        "tenderly, unhappily, valiantly, coldly, darkly, drily, earnestly, faintly, fiercely,"
        "firmly, frankly, gravely, grimly, hastily, hoarsely, humbly, idly, innocently, joyfully,"
        "lazily, lightly, meekly, mildly, noisily, oddly, plainly, playfully, rudely, serenely,"
        "sleepily, stiffly, stubbornly, sweetly, tartly, timidly, vaguely, wistfully, zealously"
    ),
}

//! Word lists. Common words come first in each list: a generator of small breadth uses the front of the lists.

/// Splits a list written as text.
pub(super) fn list(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

pub(super) const WOMEN: &str = "Mira Edda Lena Rosa Nell Ada Ivy Tess Una Vera Wilma Zoe Cora Dora Elsa Faye Greta Hilda Iris June Kate Lucy Mabel \
    Nora Olive Pearl Ruth Sara Thea Viola Willa Agnes Betty Clara Daisy Ella Flora Grace Hazel Ingrid Jane Kira Lily Mona Nina Opal Petra \
    Rita Stella Tilda Ursa Wanda Yara Anna Berta Celia Della Emma Freya Gilda Holly Ida Joan Karen";
pub(super) const MEN: &str = "Tobin Oskar Finn Hugo Karl Bram Otto Ned Paul Rolf Sam Theo Ulf Walt Abel Boris Colin Dirk Emil Frank Gus Hans \
    Ivan Jack Kurt Leo Max Nils Olaf Peter Quinn Ralf Simon Tom Victor Will Adam Bert Carl David Erik Felix Gregor Henry Isak Jonas Kasper \
    Lars Mark Noah Oliver Pavel Robert Stefan Tim Urban Wendel Yorick Arno Bruno Casper Dario Edwin Fritz";
pub(super) const TOWNS: &str = "Tarn Oss Holt Brill Kelm Dunmore Wick Selby Marl Ashby Corran Fenn Lorne Pell Ruan Stoke Thorn Ulm Varga Welby Yarrow Zell Arden Bexley Crail Elgin Frome Goring Hexham Ilford Jarrow Kendal Luss Melrose Nairn Oban Penrith Ryde Salen Tain Venn Whitby Yeld Alston Bude Calder Dalry Ely Fowey Girvan Hythe Irvine Keld Leith Moffat Newark Orford Poole Skye Torrin Ural Vale Wells York";
pub(super) const OBJECTS: &str = "lamp bell cup rope drum box key coat boat cart clock kettle ladder basket hammer mirror blanket candle saddle \
    barrel bottle broom brush bucket chain chair chest comb cradle dish fiddle flute fork glove harp hat hook horn jar jug kite knife lantern \
    letter lock map mask medal nail needle net oar oven paddle pan pen pillow pipe plate plough pot purse quilt rake ring rug sack saw scarf \
    basin shawl shield shoe shovel sickle sled spade spoon stool stove sword table tent thimble tray trumpet tub vase wagon watch wheel \
    whistle anvil apron bowl button";
pub(super) const PLACES: &str = "cellar attic barn kitchen garden stable tower shed mill church market library tavern bakery forge harbour meadow \
    orchard cave forest castle chapel hall school shop bridge dairy loft pantry porch stairway workshop courtyard well vineyard field \
    lighthouse inn hut tent palace prison gate hayloft greenhouse laundry nursery parlour pasture quarry smithy store study temple theatre \
    tunnel valley wardrobe warehouse wharf yard chimney cottage ditch fireplace";
pub(super) const ANIMALS: &str = "goat dog cat horse cow pig duck hen sheep rabbit pony donkey goose parrot lamb mouse frog snake turtle fox \
    rooster squirrel beetle badger canary crow dove falcon ferret hamster hedgehog kitten lizard magpie mule pigeon puppy raven swan toad";
pub(super) const FOODS: &str = "plums pears apples beans bread cheese honey soup cakes carrots cherries grapes nuts peas onions potatoes rice \
    eggs figs lemons melons mushrooms noodles olives pancakes peaches pies porridge pumpkins radishes raisins salad sausages spinach \
    strawberries tomatoes turnips waffles walnuts berries biscuits butter cabbage chestnuts dumplings garlic herring trout";
pub(super) const JOBS: &str = "baker smith tailor farmer teacher sailor miller painter cook doctor weaver potter hunter fisher gardener barber \
    butcher carpenter clerk driver guard judge mason miner nurse porter printer roofer saddler shepherd singer cobbler soldier dancer tanner \
    thatcher tinker trader waiter brewer";
pub(super) const COLOURS: &str =
    "red blue green yellow brown black white grey pink purple orange golden silver violet scarlet crimson turquoise beige copper cream";

pub(super) const ADJECTIVES: &str = "old small big new warm cold long short bright dark quiet loud soft hard happy sad kind brave clever lazy busy \
    tired hungry wet dry clean dirty strange narrow wide heavy light sweet bitter sharp round flat deep tall thin thick strong weak young \
    wild gentle proud shy calm angry careful careless cheerful curious dusty empty fancy famous fine foggy fresh friendly funny golden grand \
    great green grumpy handsome healthy hollow honest huge humble icy jolly lonely lovely lucky merry misty modest muddy mysterious neat \
    noble noisy odd pale patient peaceful plain playful pleasant polite poor pretty rare rich ripe rough rusty sandy scared secret shallow \
    shiny silent simple sleepy slow smooth sour splendid steep stiff stormy stubborn sturdy sunny tender thirsty tidy tiny tough ugly useful \
    vast wise wooden woolen worn wrinkled ancient broken crooked crowded distant faded forgotten frozen hidden mighty open painted ragged \
    silver stony tangled twisted windy";
pub(super) const NOUNS: &str = "river hill road wind rain snow sun moon star tree stone fire house door window child king queen bird fish wolf bear \
    stranger neighbour brother sister uncle aunt grandmother grandfather village crowd feast song story dream secret journey winter summer \
    spring autumn morning evening night storm cloud shadow light voice smile tear hand foot heart head shoulder pocket corner path stream lake \
    island shore wave sand rock mountain cliff valley fence wall roof floor ceiling step bench shelf paper book page word name number question \
    answer promise lesson mistake plan idea trick joke game prize gift party wedding birthday holiday fair race contest parade visit errand \
    chore bundle parcel package pile heap row circle line piece corner crumb drop flame spark smoke ash dust mud ice frost dew fog thunder \
    lightning rainbow sunset sunrise noon midnight week month year century coin treasure gold copper iron wood straw hay grass leaf branch \
    root seed flower petal thorn bush hedge nest feather wing tail paw claw fur horn tooth bee ant spider butterfly worm snail fly owl eagle \
    hawk sparrow robin deer hare otter beaver seal whale crab shell pebble anchor sail mast deck captain crew pirate merchant beggar thief \
    wizard witch giant dwarf fairy dragon knight prince princess mayor priest monk pilgrim traveller messenger apprentice servant guest host \
    friend enemy twin baby boy girl man woman widow orphan family team band army";
pub(super) const WENT: &str = "walked ran hurried wandered marched climbed crept danced drifted hiked jumped raced rode rolled rushed sailed skipped \
    slipped stepped strolled stumbled swam travelled trotted turned went drove fled flew limped moved paddled paced roamed rowed sneaked";
pub(super) const DID: &str = "slept laughed cried smiled waited rested sang whistled whispered shouted worked played listened dreamed shivered sneezed \
    coughed yawned sighed trembled nodded frowned blushed giggled grumbled hummed knelt lay prayed read sat shrugged snored stood stretched \
    stared watched winked wept bowed clapped ate drank cooked fished painted";
pub(super) const MADE: &str = "found saw lost took bought sold made hid broke mended carried dropped lifted washed painted borrowed brought caught \
    chose cleaned counted cut drew dug fetched filled followed forgot gathered guarded held kept kicked left moved needed noticed opened \
    packed picked polished pulled pushed remembered repaired sent shook showed stole threw touched tied traded wanted watched wrapped";
pub(super) const ADVERBS: &str = "slowly quickly quietly loudly softly gently gladly sadly proudly bravely carefully happily early late often soon \
    twice again together alone outside inside nearby everywhere calmly eagerly neatly politely patiently suddenly silently steadily warmly \
    wearily wisely boldly briefly cheerfully clumsily freely gracefully honestly lazily merrily nervously secretly stubbornly";
pub(super) const FEELINGS: &str = "glad sorry proud afraid tired happy angry surprised worried ashamed thankful calm sad hopeful jealous lonely \
    confused excited bored relieved curious restless cheerful grateful puzzled";
pub(super) const DAYS: &str = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday";

/// Parts of long names of rivers, hills and families: every first with every second part.
pub(super) const FIRST_PARTS: &str = "Amber Birch Black Briar Bright Cedar Clear Crow Dark Elder Ember Fair Fern Frost Gold Green Hazel Heron High \
    Hollow Iron Juniper Lark Linden Long Maple Mist Moss North Oak Otter Pine Quill Raven Red Rowan Silver Snow South Stone Sun Swan Thistle \
    Timber Wester White Willow Winter Wolf Wren";
/// The second parts.
pub(super) const SECOND_PARTS: &str = "beck bourne brook by cliff combe croft dale den field ford gate grove ham hurst ley lock mere moor mouth ridge shaw side stead thorpe \
    ton vale water wick wood worth";

// Work on recipes.

function recipeFilter(text) {
  return parseFilter(text);
}

const DB_PASSWORD = process.env.DB_PASSWORD;
const STATION_URL = "https://stations.quillmere.example/stations";

const recipePool = createPool({
  user: "recipe",
  password: process.env.RECIPE_PASSWORD,
});

// Kept for the old console.
async function sendRecipe(recipe) {
  try {
    await queue.push(recipe);
  } catch (error) {
    throw new SendError(recipe.id, { cause: error });
  }
}

function selectedRecipe() {
  const row = document.querySelector("tr.selected");
  return row === null ? null : row.dataset.id;
}

// The caller holds the session.
const MAX_WAREHOUSES = 50;
